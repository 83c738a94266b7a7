import { expect, test } from "vitest";
import { isAuthenticatorName, isAuthenticatorParameter } from "./authenticators.ts";

test.each(
  "Authorization Cookie X-Api-Key api_key apiKey access_token accessToken X-Vault-Token X-Amz-Security-Token X-Amz-Signature X-Goog-Credential Ocp-Apim-Subscription-Key x-functions-key PRIVATE-TOKEN DD-API-KEY X-Auth-User password client_secret AWSAccessKeyId Key-Pair-Id sig jwt X-Shopify-Access-Token assertion accesskeyid X-Secret-Key secret_key secretKey authkey aeg-sas-key X-ClickHouse-Key X-Forwarded-Client-Cert Client-Cert X-SSL-Client-Certificate DPoP Authorization-Bearer X-Original-Authorization X-Token-Auth SAMLResponse X-API-KEY2 api-key-v2 token_v2 X-Hub-Signature-256 X-Access-Token2 basic_auth sas".split(
    " ",
  ),
)("H4: %s authenticates", (name) => expect(isAuthenticatorName(name)).toBe(true));

test.each(
  "Accept User-Agent X-Ratelimit-Remaining-Tokens max_tokens Idempotency-Key Sec-WebSocket-Key pageToken next_page_token page_token continuation-token nextToken sync_token cacheKey Traceparent Mcp-Session-Id X-Request-Id key keyword monkey author Sec-WebSocket-Version X-Http2 utf8 md5 Accept-Client-Hints client client_id Certificate-Transparency page_token2 sha256 base64".split(
    " ",
  ),
)("%s does not", (name) => expect(isAuthenticatorName(name)).toBe(false));

test("H4: a parameter `key` counts where its value looks like one, and a presigned URL always", () => {
  expect(isAuthenticatorParameter("key", "AIzaSyA0123456789abcdef")).toBe(true);
  expect(isAuthenticatorParameter("key", "color")).toBe(false);
  expect(isAuthenticatorParameter("ticket", "4711")).toBe(false);
  expect(isAuthenticatorParameter("ticket", "ST-1856339-aA5Yuvrxzpv8Tau1cYQ7")).toBe(true);
  for (const name of ["X-Amz-Signature", "X-Goog-Signature", "Signature", "sig", "X-Amz-Credential"])
    expect(isAuthenticatorParameter(name, "x")).toBe(true);
});
