#!/bin/bash
# Runs eight shards on the machines that the file "nodes" names, one a line, in a directory that
# all of them share, and starts a shard again, on another machine, if its fetchall fails.
parallel --sshloginfile nodes --workdir "$PWD" --jobs 2 --retries 4 \
    'fetchall -q --failures-ok --shard {}/8 --journal journal-{}.jsonl urls.txt > /dev/null' ::: {0..7}
