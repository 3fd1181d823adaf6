"""What gives a shard to each of its jobs: SLURM, Kubernetes, AWS Batch, GNU parallel."""

import json
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import botocore.session
import botocore.validate
import kubernetes_validate
import yaml
from slurm_here import Slurm, free_port
from support import RECIPES, SCENARIO_TIMEOUT_S, URLS, Failed

SHARDS = 8
# Each is started again, as the recipes have it.
KILLS = [(URLS // 3, "fetchall"), (URLS // 2, "fetchall")]
KUBERNETES_VERSION = "1.37"
USAGE_ERROR = 2
SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {dir}/host_key
PidFile {dir}/sshd.pid
AuthorizedKeysFile {dir}/key.pub
StrictModes no
UsePAM no
SetEnv PATH={path} FETCHALL_PER_HOST={per_host} FETCHALL_SCALE_RUN={run}
"""
SSH = """
Host *
HostName 127.0.0.1
Port {port}
IdentityFile {dir}/key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile {dir}/known_hosts
LogLevel ERROR
"""


def workplace(bench, name):
    """A directory with the list, as a recipe expects it."""
    directory = bench.directory / name
    directory.mkdir()
    os.link(bench.list, directory / "urls.txt")
    return directory


def merged(bench, directory):
    """The records of all shards, by the command in docs/scale.md."""
    journals = sorted(directory.glob("journal-*.jsonl"))
    command = [bench.program, "-q", "--failures-ok", "--merge", *journals]
    done = subprocess.run(command, capture_output=True, text=True, env=bench.environment)
    if done.returncode != 0:
        raise Failed(f"fetchall --merge: exit code {done.returncode}: {done.stderr}")
    return map(json.loads, done.stdout.splitlines())


def checked(bench, label, directory):
    yield label, bench.check(label, merged(bench, directory), 1.1)


def slurm(bench):
    directory = workplace(bench, "slurm")
    with Slurm(directory / "daemons", bench.environment) as cluster:
        # sbatch --wait would look less and less often.
        wait = "sbatch $0 && while [ -n \"$(squeue --noheader)\" ]; do sleep 0.3; done"
        command = ["bash", "-c", wait, RECIPES / "fetchall.sbatch"]
        bench.run("slurm", command, KILLS, directory, SLURM_CONF=cluster.environment["SLURM_CONF"])
    return checked(bench, "slurm, two fetchall killed", directory)


def shard_until_done(bench, command, variable, index):
    """Starts a shard as often as its recipe does, without the cluster."""
    for _ in range(4):
        environment = bench.environment | {variable: str(index)}
        code = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, timeout=SCENARIO_TIMEOUT_S
        ).returncode
        if code in (0, USAGE_ERROR):
            return code
    return code


def container(bench, name, command, variable):
    """Runs the command of a container in every shard, two at the same time."""
    directory = workplace(bench, name)
    command = [word.replace("/data/", f"{directory}/") for word in command]
    run = partial(shard_until_done, bench, command, variable)
    with bench.killing(KILLS), ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(run, range(SHARDS)))
    if any(codes):
        raise Failed(f"{name}: exit codes {codes}")
    return checked(bench, f"{name}, two fetchall killed", directory)


def kubernetes(bench):
    job = yaml.safe_load((RECIPES / "fetchall-job.yaml").read_text())
    try:
        kubernetes_validate.validate(job, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Failed(f"kubernetes: {error}") from error
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    return container(bench, "kubernetes", command, "JOB_COMPLETION_INDEX")


def batch(bench):
    job = json.loads((RECIPES / "fetchall-batch.json").read_text())
    model = botocore.session.get_session().get_service_model("batch")
    shape = model.operation_model("RegisterJobDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(job, shape)
    if report.has_errors():
        raise Failed(f"batch: {report.generate_report()}")
    command = job["containerProperties"]["command"]
    return container(bench, "batch", command, "AWS_BATCH_JOB_ARRAY_INDEX")


def parallel(bench):
    directory = workplace(bench, "parallel")
    ssh = directory / "ssh"
    ssh.mkdir()
    for key in ["host_key", "key"]:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / key], check=True)
    values = {
        "dir": ssh,
        "port": free_port(),
        "path": bench.environment["PATH"],
        "per_host": bench.environment["FETCHALL_PER_HOST"],
        "run": bench.directory,
    }
    (ssh / "sshd_config").write_text(SSHD.format(**values))
    (ssh / "config").write_text(SSH.format(**values))
    (directory / "nodes").write_text("node1\nnode2\n")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd insists on it
    sshd = subprocess.Popen(
        [shutil.which("sshd"), "-D", "-f", ssh / "sshd_config"],
        stderr=(ssh / "log").open("wb"),
        env=bench.environment,
    )
    try:
        command = ["bash", RECIPES / "parallel.sh"]
        bench.run("parallel", command, KILLS, directory, PARALLEL_SSH=f"ssh -F {ssh}/config")
    finally:
        sshd.send_signal(signal.SIGTERM)
        sshd.wait()
    return checked(bench, "parallel over ssh, two fetchall killed", directory)
