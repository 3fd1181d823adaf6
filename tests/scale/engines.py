"""Spark and Ray, each on two cores of this machine."""

import json
import sys

import pyarrow.parquet
from support import RECIPES, URLS

PARTS = 8
# Half-way, and a little later, when the engine repeats what the first one has cost.
KILLS = [(URLS // 3, "worker"), (URLS // 2, "fetchall")]
SPARK = [
    ["--master", "local[2,4]"],
    ["--driver-memory", "1g"],
    ["--conf", "spark.ui.enabled=false"],
    ["--conf", "spark.driver.host=127.0.0.1"],
    ["--conf", "spark.driver.bindAddress=127.0.0.1"],
    ["--conf", "spark.log.level=ERROR"],
]
# A small Ray for the recipe, which finds it as it finds a cluster.
RAY = """
import runpy, sys, ray
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=256 << 20,
         _temp_dir=sys.argv[1], _node_ip_address="127.0.0.1")
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def parquet(directory):
    return pyarrow.parquet.read_table(directory, columns=["url", "ok", "status"]).to_pylist()


def both(bench, name, run):
    """Once as it is, and once with a worker of the engine and a fetchall killed."""
    for kills, most in [((), 1.1), (KILLS, 1.5)]:
        label = f"{name}, {'a worker and a fetchall killed' if kills else 'undisturbed'}"
        out = bench.directory / f"{name}-{len(kills)}"
        records = run(bench, out, kills)
        yield label, bench.check(label, records, most)


def spark_with(recipe):
    def run(bench, out, kills):
        options = [word for pair in SPARK for word in pair]
        command = ["spark-submit", *options, RECIPES / recipe, bench.list, out, str(PARTS)]
        bench.run(
            out.name,
            command,
            kills,
            PYSPARK_PYTHON=sys.executable,
            SPARK_LOCAL_IP="127.0.0.1",
            SPARK_LOCAL_DIRS=str(bench.directory),
        )
        return parquet(out)

    return run


def spark(bench):
    return both(bench, "spark", spark_with("fetchall_spark.py"))


def spark_pipe(bench):
    return both(bench, "spark-pipe", spark_with("fetchall_spark_pipe.py"))


def ray_with(recipe, read):
    def run(bench, out, kills):
        temporary = bench.directory / "ray"
        command = [sys.executable, "-c", RAY, temporary, RECIPES / recipe]
        bench.run(
            out.name,
            [*command, bench.list, out, str(PARTS)],
            kills,
            RAY_USAGE_STATS_ENABLED="0",
        )
        return read(out)

    return run


def ray_data(bench):
    return both(bench, "ray-data", ray_with("fetchall_ray_data.py", parquet))


def ray_tasks(bench):
    return both(bench, "ray-tasks", ray_with("fetchall_ray.py", json_lines))


def json_lines(directory):
    for path in directory.glob("part-*.jsonl"):
        yield from map(json.loads, path.open())
