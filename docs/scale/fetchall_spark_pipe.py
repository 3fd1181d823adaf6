"""As fetchall_spark.py, with RDD.pipe and no Python of one's own in the tasks.

    spark-submit fetchall_spark_pipe.py URLS OUT PARTITIONS
"""

import os
import sys

from pyspark.sql import SparkSession, functions as f

SCHEMA = "url string, ok boolean, outcome string, status int, bytes bigint"
# pipe passes no other variable of the environment on.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("FETCHALL_")}

urls, out, partitions = sys.argv[1:]
spark = SparkSession.builder.appName("fetchall").getOrCreate()
# All URLs of a host in one partition. parse_url has no host for URLs that it finds malformed.
host = f.lower(f.regexp_extract("url", "://(?:[^/?#]*@)?([^/?#:]*)", 1))
lists = spark.read.text(urls).toDF("url").repartition(int(partitions), host)
records = lists.rdd.map(lambda row: row.url).pipe(
    "fetchall -q --json --failures-ok",
    ENVIRONMENT | {"PATH": os.environ["PATH"]},
    # Without this, the records of a fetchall that died are missing, and nothing says so.
    checkCode=True,
)
# Without a schema, Spark runs everything once more to find one.
spark.read.schema(SCHEMA).json(records).write.parquet(out)
