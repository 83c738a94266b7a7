"""An ordinary agent: Python's standard library, no proxy variable, no certificate option, nothing of Sidegate's."""
import json
import sys
import urllib.error
import urllib.request

method, url = sys.argv[1], sys.argv[2]
try:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as refused:
    problem = json.loads(refused.read())
    print(refused.code, problem.get("code"), "-", problem.get("detail"))
