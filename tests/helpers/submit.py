"""A scheduler of one line for tests: starts a job script in the background and prints its number."""

import subprocess
import sys

job = subprocess.Popen(
    ["sh", sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
)
print(job.pid)
