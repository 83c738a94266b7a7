import { createHttpLane } from "#sidecar/lanes/http/lane.ts";
import { type Act, conformance } from "../suite.ts";
import { DESYNC } from "./desync.ts";

const HOST = "Host: billing.test\r\n";

const GET: Act = {
  request: `GET /v1/invoices/7?page=2 HTTP/1.1\r\n${HOST}Accept: */*\r\n\r\n`,
  forwarded: `GET /v1/invoices/7?page=2 HTTP/1.1\r\n${HOST}Accept: */*\r\n\r\n`,
  answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
  delivered: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
  status: "200",
};

const POST: Act = {
  request: `POST /v1/invoices HTTP/1.1\r\n${HOST}Content-Length: 11\r\n\r\nhello world`,
  forwarded: `POST /v1/invoices HTTP/1.1\r\n${HOST}Content-Length: 11\r\n\r\nhello world`,
  answer: "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: /v1/invoices/8\r\n\r\n",
  delivered: "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: /v1/invoices/8\r\n\r\n",
  status: "201",
};

const CHUNKED: Act = {
  request: `PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
  forwarded: `PUT /f HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
  answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
  delivered: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
  status: "200",
};

/** What ends at this hop: Connection and what it names, extensions, Alt-Svc; a request's trailers. */
const HOPS: Act = {
  request: `POST /x HTTP/1.1\r\n${HOST}Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nX-End: 2\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`,
  forwarded: `POST /x HTTP/1.1\r\n${HOST}X-End: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
  answer:
    'HTTP/1.1 200 OK\r\nAlt-Svc: h3=":443"\r\nKeep-Alive: timeout=5\r\nSidegate-Event: forged\r\nTransfer-Encoding: chunked\r\n\r\n2;x="\\"y"\r\nok\r\n0\r\n\r\n',
  delivered: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  status: "200",
};

const HEAD: Act = {
  request: `HEAD /v1 HTTP/1.1\r\n${HOST}\r\n`,
  forwarded: `HEAD /v1 HTTP/1.1\r\n${HOST}\r\n`,
  answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
  delivered: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
  status: "200",
};

const NOT_MODIFIED: Act = {
  request: `GET /etag HTTP/1.1\r\n${HOST}If-None-Match: "a"\r\n\r\n`,
  forwarded: `GET /etag HTTP/1.1\r\n${HOST}If-None-Match: "a"\r\n\r\n`,
  answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
  delivered: "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
  status: "304",
};

const get = (fields: string): string => `GET / HTTP/1.1\r\n${HOST}${fields}\r\n`;
const put = (fields: string, body = ""): string => `PUT / HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
const ok = (rest: string): string => `HTTP/1.1 200 OK\r\n${rest}`;

conformance("HTTP/1.1", {
  make: (clock) => createHttpLane({ clock }),
  setting: {},
  kind: "judged",
  acts: [GET, POST, CHUNKED, HOPS, HEAD, NOT_MODIFIED],
  malformed: DESYNC,
  lengths: [
    { name: "Content-Length 0", bytes: put("Content-Length: 0\r\n"), taken: true },
    { name: "the largest Content-Length", bytes: put("Content-Length: 999999999999999\r\n"), taken: true },
    { name: "a Content-Length one digit longer", bytes: put("Content-Length: 1000000000000000\r\n"), taken: false },
    { name: "Content-Length 2^64", bytes: put("Content-Length: 18446744073709551616\r\n"), taken: false },
    { name: "a chunk of 0", bytes: put("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), taken: true },
    { name: "a chunk of 2^31 - 1", bytes: put("Transfer-Encoding: chunked\r\n", "7fffffff\r\n"), taken: true },
    { name: "a chunk of 2^31", bytes: put("Transfer-Encoding: chunked\r\n", "80000000\r\n"), taken: false },
    { name: "a chunk of 2^64", bytes: put("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n"), taken: false },
    {
      name: "an extension of 1 KiB",
      bytes: put("Transfer-Encoding: chunked\r\n", `1;${"a".repeat(1_024)}\r\n`),
      taken: true,
    },
    {
      name: "a longer extension",
      bytes: put("Transfer-Encoding: chunked\r\n", `1;${"a".repeat(1_025)}\r\n`),
      taken: false,
    },
    { name: "a target of 16 KiB", bytes: `GET /${"a".repeat(16_383)} HTTP/1.1\r\n${HOST}\r\n`, taken: true },
    { name: "a longer target", bytes: `GET /${"a".repeat(16_384)} HTTP/1.1\r\n${HOST}\r\n`, taken: false },
    { name: "a head of 64 KiB", bytes: get(`X: ${"a".repeat(65_536 - get("X: \r\n").length)}\r\n`), taken: true },
    { name: "a longer head", bytes: get(`X: ${"a".repeat(65_537 - get("X: \r\n").length)}\r\n`), taken: false },
    { name: "256 fields", bytes: get("X: 1\r\n".repeat(255)), taken: true },
    { name: "257 fields", bytes: get("X: 1\r\n".repeat(256)), taken: false },
    { name: "100,000 header lines", bytes: get("X: 1\r\n".repeat(100_000)), taken: false },
    { name: "a header line without an end", bytes: `GET / HTTP/1.1\r\nX: ${"a".repeat(200_000)}`, taken: false },
    { name: "a first line without an end", bytes: `GET /${"a".repeat(200_000)}`, taken: false },
    {
      name: "64 trailers",
      bytes: put("Transfer-Encoding: chunked\r\n", `0\r\n${"T: 1\r\n".repeat(64)}\r\n`),
      taken: true,
    },
    {
      name: "65 trailers",
      bytes: put("Transfer-Encoding: chunked\r\n", `0\r\n${"T: 1\r\n".repeat(65)}\r\n`),
      taken: false,
    },
    {
      name: "a trailer without an end",
      bytes: put("Transfer-Encoding: chunked\r\n", `0\r\nT: ${"a".repeat(9_000)}`),
      taken: false,
    },
  ],
  refusal(text) {
    const head = /^HTTP\/1\.1 (\d{3}) [^\r\n]+\r\n([\s\S]*?)\r\n\r\n([\s\S]*)$/.exec(text);
    const [, status = "", fields = "", body = ""] = head ?? [];
    const understood =
      /^[45]/.test(status) &&
      /^Content-Type: application\/problem\+json$/m.test(fields) &&
      /^Sidegate-Event: boot-\d+$/m.test(fields) &&
      (body === "" || (JSON.parse(body) as { status: number }).status === Number(status));
    return { understood, goesOn: !/^Connection: close$/m.test(fields) };
  },
  badAnswers: [
    { name: "two lengths", bytes: ok("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello") },
    { name: "a length and chunks", bytes: ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") },
    { name: "an unknown coding", bytes: ok("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n") },
    { name: "a bare LF", bytes: "HTTP/1.1 200 OK\nContent-Length: 0\n\n" },
    { name: "a folded line", bytes: ok("X: a\r\n b\r\nContent-Length: 0\r\n\r\n") },
    { name: "a control byte", bytes: ok("X: a\x00b\r\nContent-Length: 0\r\n\r\n") },
    { name: "a space before a colon", bytes: ok("Content-Length : 0\r\n\r\n") },
    { name: "chunks in HTTP/1.0", bytes: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { name: "a switch of protocols", bytes: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" },
    { name: "a body where there can be none", bytes: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello" },
    { name: "a negative chunk", bytes: ok("Transfer-Encoding: chunked\r\n\r\n-1\r\n") },
    {
      name: "a chunk that is longer than it says",
      bytes: ok("Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    },
    { name: "no status line", bytes: "220 smtp.example ESMTP\r\n" },
    { name: "another version", bytes: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n" },
    { name: "interim answers without an end", bytes: "HTTP/1.1 102 Processing\r\n\r\n".repeat(20) },
    { name: "a head without an end", bytes: ok(`X: ${"a".repeat(70_000)}`) },
    { name: "too many fields", bytes: ok(`${"X: 1\r\n".repeat(300)}\r\n`) },
  ],
});
