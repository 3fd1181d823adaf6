"""Fetches a list of URLs with Ray Data, and writes the records as Parquet.

    ray job submit -- python fetchall_ray_data.py URLS OUT BLOCKS

URLS has a URL on each line, and no comments. The Python of the tasks needs fetchall.
"""

import sys

import fetchall.ray
import ray

urls, out, blocks = sys.argv[1:]
lists = ray.data.read_text(urls).rename_columns({"text": "url"})
fetchall.ray.fetch(lists, int(blocks)).write_parquet(out)
