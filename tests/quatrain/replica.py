"""Runs in a test's worker pools: records its environment, then behaves as its argument says."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

behaviour, folder = sys.argv[1], Path(sys.argv[2])
service = {
    k: v for k, v in os.environ.items() if k.startswith(("AIP_", "CLOUD_ML_", "TF_CONFIG", "CLUS"))
}
name = json.loads(os.environ["CLUSTER_SPEC"])["task"]
record = {"env": service, "own": os.environ.get("OWN"), "pid": os.getpid()}
folder.mkdir(parents=True, exist_ok=True)
partial = folder / f"{name['type']}-{name['index']}.tmp"
partial.write_text(json.dumps(record))
partial.rename(partial.with_suffix(".json"))
with (folder / "starts").open("a") as starts:
    starts.write(partial.stem + "\n")
is_chief = name["type"] == "workerpool0"
if behaviour == "hang" or (behaviour == "worker-fails" and is_chief):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
    time.sleep(120)
if behaviour == "worker-fails":
    while not (folder / "workerpool0-0.json").exists():
        time.sleep(0.02)
    raise ValueError("no gradient\nof 2 lines")
if behaviour == "chief-fails" and is_chief:
    sys.exit("the chief gives up")
