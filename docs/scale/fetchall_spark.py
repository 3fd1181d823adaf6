"""Fetches a list of URLs on a Spark cluster, and writes the records as Parquet.

    spark-submit fetchall_spark.py URLS OUT PARTITIONS

URLS has a URL on each line, and no comments. The Python of the tasks needs fetchall and pyarrow.
"""

import sys

import fetchall.spark
from pyspark.sql import SparkSession

urls, out, partitions = sys.argv[1:]
spark = SparkSession.builder.appName("fetchall").getOrCreate()
lists = spark.read.text(urls).toDF("url")
fetchall.spark.fetch(lists, int(partitions)).write.parquet(out)
