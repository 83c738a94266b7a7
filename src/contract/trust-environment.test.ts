import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JAVA_VARIABLE, TRUST_VARIABLES, trustEnvironment, trustPaths } from "./trust-environment.ts";

const paths = trustPaths("/trust");
const java = "-Djavax.net.ssl.trustStore=/trust/sidegate-ca.jks -Djavax.net.ssl.trustStoreType=JKS";

test("an empty environment gets every variable, each with its file", () => {
  expect(trustEnvironment(paths, {})).toEqual({
    set: {
      SSL_CERT_FILE: "/trust/ca-bundle.pem",
      REQUESTS_CA_BUNDLE: "/trust/ca-bundle.pem",
      CURL_CA_BUNDLE: "/trust/ca-bundle.pem",
      AWS_CA_BUNDLE: "/trust/ca-bundle.pem",
      GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: "/trust/ca-bundle.pem",
      PGSSLROOTCERT: "/trust/ca-bundle.pem",
      GIT_SSL_CAINFO: "/trust/ca-bundle.pem",
      PIP_CERT: "/trust/ca-bundle.pem",
      npm_config_cafile: "/trust/ca-bundle.pem",
      NODE_EXTRA_CA_CERTS: "/trust/sidegate-ca.pem",
      DENO_CERT: "/trust/sidegate-ca.pem",
      JAVA_TOOL_OPTIONS: java,
    },
    merge: [],
  });
});

describe("what the author set is merged, not lost", () => {
  test("a file of theirs is named, to be put into the bundle", () => {
    const { set, merge } = trustEnvironment(paths, { SSL_CERT_FILE: "/corp/ca.pem", CURL_CA_BUNDLE: "" });
    expect(merge).toEqual([{ variable: "SSL_CERT_FILE", file: "/corp/ca.pem" }]);
    expect(set["SSL_CERT_FILE"]).toBe("/trust/ca-bundle.pem");
  });

  test("where a variable adds to the default, it must be the bundle, which has theirs too", () => {
    const { set, merge } = trustEnvironment(paths, { NODE_EXTRA_CA_CERTS: "/corp/ca.pem" });
    expect(merge).toEqual([{ variable: "NODE_EXTRA_CA_CERTS", file: "/corp/ca.pem" }]);
    expect(set["NODE_EXTRA_CA_CERTS"]).toBe("/trust/ca-bundle.pem");
  });

  test("options of Java stay in front of ours", () => {
    expect(trustEnvironment(paths, { JAVA_TOOL_OPTIONS: "-Xmx512m" }).set[JAVA_VARIABLE]).toBe(`-Xmx512m ${java}`);
  });

  test("a trust store that the author chose is left alone", () => {
    const theirs = "-Djavax.net.ssl.trustStore=/app/store.jks";
    expect(trustEnvironment(paths, { JAVA_TOOL_OPTIONS: theirs }).set[JAVA_VARIABLE]).toBe(theirs);
  });
});

test("doing it twice changes nothing more", () => {
  const names = fc.constantFrom(...TRUST_VARIABLES.map((v) => v.name), JAVA_VARIABLE);
  const values = fc.constantFrom("", "/corp/ca.pem", paths.bundle, paths.authority, "-Xmx1g", java);
  fc.assert(
    fc.property(fc.dictionary(names, values), (existing) => {
      const once = trustEnvironment(paths, existing);
      const twice = trustEnvironment(paths, { ...existing, ...once.set });
      expect(twice.set).toEqual(once.set);
      expect(twice.merge).toEqual([]);
    }),
  );
});
