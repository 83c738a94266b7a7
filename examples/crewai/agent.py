"""An ordinary CrewAI agent: it knows nothing of Sidegate. One tool that calls an internal API, one model that OPENAI_BASE_URL names.

What it needs: `pip install -r requirements.txt`, and in the environment OPENAI_BASE_URL, OPENAI_API_KEY (under Sidegate a placeholder:
the gateway puts the real key in) and BILLING_URL. Says at its end what the crew answered; exits 1 where the crew failed.
"""
import json
import os
import sys
import urllib.error
import urllib.request

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

BILLING = os.environ.get("BILLING_URL", "https://billing.example")


def call(method, path):
    try:
        with urllib.request.urlopen(urllib.request.Request(BILLING + path, method=method), timeout=20) as answer:
            return answer.read().decode().strip()
    except urllib.error.HTTPError as refused:
        # What a gateway answers is for the model to read, as any other API's error.
        problem = json.loads(refused.read() or b"{}")
        return "refused: %s. %s" % (problem.get("detail", refused.reason), problem.get("advice", ""))


@tool("read_invoice")
def read_invoice(number: int) -> str:
    """Reads an invoice by its number."""
    return call("GET", "/v1/invoices/%d" % number)


@tool("delete_invoice")
def delete_invoice(number: int) -> str:
    """Deletes an invoice by its number."""
    return call("DELETE", "/v1/invoices/%d" % number)


clerk = Agent(
    role="Billing clerk",
    goal="Keep the invoices in order",
    backstory="Works in accounts receivable.",
    tools=[read_invoice, delete_invoice],
    llm=LLM(model="openai/gpt-4o-mini", base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"]),
    max_iter=6,
)
task = Task(
    description="Read invoice 7, delete it, and say what happened.",
    expected_output="One sentence.",
    agent=clerk,
)

try:
    print("crew:", Crew(agents=[clerk], tasks=[task]).kickoff())
except Exception as fault:  # of whatever library it is
    print("crew failed: %s: %s" % (type(fault).__name__, fault))
    sys.exit(1)
