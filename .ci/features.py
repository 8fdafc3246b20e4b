#!/usr/bin/env python3
"""Prints each feature of each package on a line of its own behind the package's name, and once none at all."""

import json
import subprocess

metadata = subprocess.run(
    ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], check=True, stdout=subprocess.PIPE
)
for package in json.loads(metadata.stdout)["packages"]:
    for feature in ["", *sorted(package["features"])]:
        print(package["name"], feature)
