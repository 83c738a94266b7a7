import { expect, test } from "vitest";
import { sniffHttp } from "./sniff.ts";

const sniff = (text: string): string => sniffHttp(Buffer.from(text, "latin1")).kind;

test.each([
  "GET / HTTP/1.1\r\n",
  "POST /v1 HTTP/1.1\r\n",
  "M-SEARCH * HTTP/1.1\r\n",
  "OPTIONS * HTTP/1.1\r\n",
  "GET http://billing.test/ HTTP/1.1\r\n",
  "GET HTTPS://billing.test/ HTTP/1.1\r\n",
  "CONNECT billing.test:443 HTTP/1.1\r\n",
  "CONNECT [::1]:443 HTTP/1.1\r\n",
  "\r\nGET / HTTP/1.1\r\n",
])("recognises %j, at no prefix too early, and never takes it back", (line) => {
  let decided = false;
  for (let n = 0; n <= line.length; n++) {
    const answer = sniff(line.slice(0, n));
    expect(answer).toBe(decided || answer === "match" ? "match" : "more");
    decided ||= answer === "match";
  }
  expect(decided).toBe(true);
});

test.each([
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "EHLO agent.example\r\n",
  "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
  "\x16\x03\x01\x02\x00\x01",
  "*3\r\n$3\r\nSET\r\n",
  "PING\r\n",
  "GET key\r\n",
  "get / HTTP/1.1\r\n",
  "G@T / HTTP/1.1\r\n",
  " GET / HTTP/1.1\r\n",
  "\r\n\r\nGET / HTTP/1.1\r\n",
  "\nGET / HTTP/1.1\r\n",
  "\rX",
  "GET  / HTTP/1.1\r\n",
  "GET ftp://x/ HTTP/1.1\r\n",
  "CONNECT /x HTTP/1.1\r\n",
  "A".repeat(30),
  "\0\0\0\x29\0\x03\0\0",
])("leaves %j to others", (bytes) => {
  expect(sniff(bytes)).toBe("no");
});
