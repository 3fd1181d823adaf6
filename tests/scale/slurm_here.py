"""A SLURM of one node on this machine, with daemons, ports and keys of its own. Needs root."""

import os
import socket
import subprocess

from support import wait_until

CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is requeued waits as long as its old credential is valid.
AuthInfo=socket={dir}/munge.socket,cred_expire=5
CredType=cred/munge
MailProg=/bin/true
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=node0 NodeAddr=127.0.0.1 NodeHostname={host} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=node0 Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Slurm:
    """Its daemons, ended in the end, and the variable by which sbatch finds them."""

    def __init__(self, directory, environment):
        self.directory = directory
        self.environment = environment | {"SLURM_CONF": str(directory / "slurm.conf")}
        self.daemons = []

    def __enter__(self):
        here = self.directory
        for name in ["state", "spool"]:
            (here / name).mkdir(parents=True)
        key = here / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        (here / "slurm.conf").write_text(
            CONFIG.format(host=host, control=free_port(), node=free_port(), dir=here)
        )
        names = ["key-file", "socket", "pid-file", "log-file", "seed-file"]
        files = [f"--{name}={here}/munge.{name.split('-')[0]}" for name in names]
        try:
            self.start("munged", "--foreground", "--force", *files)
            wait_until("munged", (here / "munge.socket").exists)
            self.start("slurmctld", "-D")
            self.start("slurmd", "-D", "-N", "node0")
            wait_until("slurm", self.is_idle)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, *command):
        log = (self.directory / f"{command[0]}.log").open("wb")
        self.daemons.append(
            subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        )

    def is_idle(self):
        command = ["sinfo", "--noheader", "--format=%T"]
        asked = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return asked.stdout.strip() == "idle"

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait()
