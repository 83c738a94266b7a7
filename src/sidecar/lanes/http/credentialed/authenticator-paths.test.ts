import { expect, test } from "vitest";
import { readTarget } from "#core/request-target.ts";
import { touchesAuthenticator } from "./authenticator-paths.ts";

function touches(line: string): boolean {
  const [method = "", raw = ""] = line.split(" ");
  const target = readTarget(raw);
  if (typeof target === "string") throw new Error(target);
  return touchesAuthenticator(method, target.segments, target.query);
}

test.each([
  "POST /oauth/token",
  "POST /oauth2/v2.0/token",
  "GET /token?service=registry",
  "POST /v1/api_keys",
  "GET /v1/api-keys",
  "DELETE /v1/apiKeys/7",
  "POST /user/keys",
  "POST /app/installations/7/access_tokens",
  "POST /repos/a/b/actions/runners/registration-token",
  "POST /api/v4/users/7/personal_access_tokens",
  "POST /v1/projects/-/serviceAccounts/x@y.iam:generateAccessToken",
  "POST /v1/projects/p/serviceAccounts/x@y.iam/keys",
  "POST /v1/realtime/client_secrets",
  "PUT /users/7/password",
  "POST /login",
  "POST /api/sessions",
  "POST /?Action=AssumeRole&RoleArn=x",
  "POST /?Version=2010&Action=CreateAccessKey",
])("H5: %s is about an authenticator", (line) => expect(touches(line)).toBe(true));

test.each([
  "GET /v1/invoices",
  "POST /v1/messages/count_tokens",
  "POST /tokenize",
  "GET /keys",
  "GET /sessions/7",
  "OPTIONS /oauth/token",
  "GET /monkeys",
  "POST /hockey",
  "POST /tokenizers/train",
  "GET /keyboards",
  "POST /?Action=DescribeInstances",
  "GET /users?action=list",
])("%s is not", (line) => expect(touches(line)).toBe(false));
