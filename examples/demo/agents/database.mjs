// An ordinary agent with a database: node-pg, nothing of Sidegate's, and no password.
import { Client } from "pg";

const [, , host = "db.shop.test", port = "5432"] = process.argv;
const db = new Client({ host, port: Number(port), user: "agent", database: "postgres" });
db.on("error", () => {});
try {
  await db.connect();
} catch (refused) {
  console.log(`cannot connect: ${refused.message}`);
  process.exit(1);
}
for (const sql of [
  "SELECT id, name, email FROM users ORDER BY id",
  "SELECT upper(email) FROM users",
  "DROP TABLE users",
  "SELECT count(*)::int AS users FROM users",
])
  try {
    console.log(sql);
    for (const row of (await db.query(sql)).rows) console.log(" ", JSON.stringify(row));
  } catch (refused) {
    console.log(`  ${refused.severity} ${refused.code}: ${refused.message}`);
    if (refused.hint !== undefined) console.log(`  HINT: ${refused.hint}`);
  }
await db.end();
