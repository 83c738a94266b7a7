import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { openSqlite } from "../../src/collector/store/sqlite.ts";
import { recordStoreConformance } from "./record-store.ts";

recordStoreConformance({
  name: "SQLite",
  make: async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "store-"));
    const file = path.join(folder, "audit.db");
    return await Promise.resolve({
      store: openSqlite(file, "write"),
      again: () => Promise.resolve(openSqlite(file, "write")),
      remove: () => rmSync(folder, { recursive: true, force: true }),
    });
  },
});
