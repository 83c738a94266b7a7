/**
 * Statements that make, change and drop tables and their like; COPY; maintenance. What they mention is described where it can be;
 * names of types and roles are not judged here, because the whole statement is `admin`.
 */

import { copyFormat } from "./copy-format.ts";
import { target } from "./from.ts";
import { noteFunction } from "./functions.ts";
import type { OutputColumn, TableRef } from "./reading.ts";
import { noteTable } from "./relations.ts";
import { isUtf8 } from "./settings.ts";
import { constantOf, type Fields, isFields, listOf, namesOf, nodeOf, textOf } from "./tree.ts";
import { conditionOf, type Place, type Shape, type Shapes, type Walker } from "./walker.ts";

const asAdmin = (place: Place): Place => ({ ...place, access: "admin" });

/** A statement on one table: `walk` names what else there is to see. */
function onTable(field: string, rest: { readonly walk?: readonly string[]; readonly skip?: readonly string[] }): Shape {
  return {
    own: [field, ...(rest.walk ?? [])],
    skip: rest.skip ?? [],
    run: (w, f, place) => {
      w.found.act("admin");
      if (f[field] !== undefined) target(w, f[field], "admin");
      for (const part of rest.walk ?? []) w.visit(f[part], asAdmin(place));
    },
  };
}

function onTables(w: Walker, value: unknown, access: TableRef["access"]): void {
  for (const item of listOf(value)) {
    const node = nodeOf(item);
    if (node?.type === "RangeVar") target(w, node.fields, access);
    else w.found.doubt("a table has an unknown form");
  }
}

/** `schema.table` as a list of names, of which the last `less` name something inside the table. */
function named(w: Walker, value: unknown, less: number): void {
  const node = nodeOf(value);
  const names = node?.type === "List" ? namesOf(node.fields["items"]) : null;
  const path = names?.slice(0, names.length - less) ?? [];
  const name = path.at(-1);
  if (name === undefined) return w.found.doubt("a table has an unknown form");
  noteTable(w.found, path.at(-2) ?? "", name, "admin");
}

/** How many names at the end of an object's path lie inside a table; undefined: the object is no table and not in one. */
const INSIDE: Readonly<Record<string, number>> = {
  OBJECT_TABLE: 0,
  OBJECT_VIEW: 0,
  OBJECT_MATVIEW: 0,
  OBJECT_SEQUENCE: 0,
  OBJECT_INDEX: 0,
  OBJECT_FOREIGN_TABLE: 0,
  OBJECT_COLUMN: 1,
  OBJECT_TRIGGER: 1,
  OBJECT_RULE: 1,
  OBJECT_POLICY: 1,
  OBJECT_TABCONSTRAINT: 1,
};
/** Objects of which a role is the owner of rights, or the way out: not told by their name alone. */
const OUTSIDE = new Set([
  "OBJECT_FOREIGN_SERVER",
  "OBJECT_FDW",
  "OBJECT_USER_MAPPING",
  "OBJECT_SUBSCRIPTION",
  "OBJECT_EXTENSION",
]);

function onObjects(w: Walker, type: string, objects: readonly unknown[]): void {
  w.found.act(type === "OBJECT_ROLE" ? "credential" : "admin");
  if (OUTSIDE.has(type)) w.found.doubt("it leads out of the database");
  const inside = INSIDE[type];
  if (inside !== undefined) for (const object of objects) named(w, object, inside);
}

function rename(w: Walker, f: Fields): void {
  const type = textOf(f["renameType"]);
  w.found.act(type === "OBJECT_ROLE" ? "credential" : "admin");
  if (f["relation"] !== undefined) target(w, f["relation"], "admin");
  if (textOf(f["subname"]) !== "" && type === "OBJECT_COLUMN") w.found.column(textOf(f["subname"]), false);
}

function copyOutput(f: Fields): readonly OutputColumn[] {
  const names = namesOf(f["attlist"]) ?? [];
  if (names.length === 0) return [{ name: null, reference: null, star: true }];
  return names.map((column) => ({ name: column, reference: { table: null, column }, star: false }));
}

/** Options that only say how rows are written down. */
const COPY_OPTIONS = new Set([
  "format",
  "freeze",
  "delimiter",
  "null",
  "default",
  "header",
  "quote",
  "escape",
  "force_quote",
  "force_not_null",
  "force_null",
  "convert_selectively",
  "on_error",
  "reject_limit",
  "log_verbosity",
]);

function copy(w: Walker, f: Fields, place: Place): void {
  const from = f["is_from"] === true;
  if (f["is_program"] === true || textOf(f["filename"]) !== "") {
    // With a superuser's rights this is the server's own user: `… TO 'pg_hba.conf'` lends the injected identity to everybody.
    w.found.act("admin");
    w.found.doubt("what a program or a file of the server does is not read");
  } else if (from) w.found.effects.push({ kind: "copy-in" });
  else w.found.effects.push({ kind: "copy-out", format: copyFormat(f["options"]) });
  if (from) w.found.act("write");
  for (const item of listOf(f["options"])) {
    const option = nodeOf(item)?.fields ?? {};
    const name = textOf(option["defname"]).toLowerCase();
    if (name === "encoding" && isUtf8(constantOf(option["arg"]) ?? "")) continue;
    if (!COPY_OPTIONS.has(name)) w.found.doubt(`COPY option ${name} is not known to the reader`);
  }
  w.visit(f["query"], place);
  if (f["relation"] === undefined) return;
  target(w, f["relation"], from ? "write" : "read");
  const columns = namesOf(f["attlist"]);
  if (columns === null) return w.found.doubt("COPY has an unknown form");
  for (const c of columns.length === 0 ? ["*"] : columns)
    if (from) w.found.target(c);
    else w.found.column(c, false);
  w.visit(f["whereClause"], conditionOf(place));
  if (!from) w.found.output = copyOutput(f);
}

const RELATIONS_TO_WRITE: Shape["run"] = (w, f) => {
  w.found.act("write");
  onTables(w, f["relations"], "write");
};

export const DDL: Shapes = {
  CreateStmt: {
    own: ["relation", "tableElts", "inhRelations", "constraints"],
    enter: { partbound: "PartitionBoundSpec", partspec: "PartitionSpec" },
    skip: ["ofTypename", "nnconstraints", "options", "oncommit", "tablespacename", "accessMethod", "if_not_exists"],
    run: (w, f, place) => {
      w.found.act("admin");
      target(w, f["relation"], "admin");
      onTables(w, f["inhRelations"], "admin");
      w.visit(f["tableElts"], asAdmin(place));
      w.visit(f["constraints"], asAdmin(place));
    },
  },
  PartitionSpec: { walk: ["partParams"], skip: ["strategy", "location"] },
  PartitionElem: {
    own: ["name"],
    walk: ["expr"],
    skip: ["collation", "opclass", "location"],
    run: (w, f) => {
      if (textOf(f["name"]) !== "") w.found.column(textOf(f["name"]), false);
    },
  },
  PartitionBoundSpec: {
    walk: ["listdatums", "lowerdatums", "upperdatums"],
    skip: ["strategy", "is_default", "modulus", "remainder", "location"],
  },
  PartitionRangeDatum: { walk: ["value"], skip: ["kind", "location"] },
  PartitionCmd: {
    own: ["name"],
    enter: { bound: "PartitionBoundSpec" },
    skip: ["concurrent"],
    run: (w, f) => target(w, f["name"], "admin"),
  },
  TableLikeClause: {
    own: ["relation"],
    skip: ["options", "relationOid"],
    run: (w, f) => target(w, f["relation"], "read"),
  },
  Constraint: {
    own: ["pktable", "exclusions", "keys", "fk_attrs", "pk_attrs"],
    walk: ["raw_expr", "where_clause"],
    skip: [
      "contype",
      "conname",
      "deferrable",
      "initdeferred",
      "is_enforced",
      "skip_validation",
      "initially_valid",
      "is_no_inherit",
      "generated_when",
      "generated_kind",
      "nulls_not_distinct",
      "without_overlaps",
      "including",
      "options",
      "indexname",
      "indexspace",
      "reset_default_tblspc",
      "access_method",
      "fk_with_period",
      "pk_with_period",
      "fk_matchtype",
      "fk_upd_action",
      "fk_del_action",
      "fk_del_set_cols",
      "location",
    ],
    run: (w, f) => {
      if (f["pktable"] !== undefined) target(w, f["pktable"], "read");
      if (f["exclusions"] !== undefined) w.found.doubt("an exclusion constraint is not read");
    },
  },
  DefElem: { skip: ["defnamespace", "defname", "arg", "defaction", "location"] },
  AlterTableStmt: onTable("relation", { walk: ["cmds"], skip: ["objtype", "missing_ok"] }),
  AlterTableCmd: {
    own: ["name"],
    walk: ["def"],
    skip: ["subtype", "num", "newowner", "behavior", "missing_ok", "recurse"],
    run: (w, f) => {
      if (textOf(f["name"]) !== "") w.found.column(textOf(f["name"]), false);
    },
  },
  ReplicaIdentityStmt: { skip: ["identity_type", "name"] },
  RoleSpec: { skip: ["roletype", "rolename", "location"] },
  String: { skip: ["sval"] },
  Integer: { skip: ["ival"] },
  Float: { skip: ["fval"] },
  Boolean: { skip: ["boolval"] },
  IndexStmt: onTable("relation", {
    walk: ["indexParams", "indexIncludingParams", "whereClause"],
    skip: [
      "idxname",
      "accessMethod",
      "tableSpace",
      "options",
      "unique",
      "nulls_not_distinct",
      "concurrent",
      "if_not_exists",
      "reset_default_tblspc",
    ],
  }),
  ViewStmt: {
    own: ["view", "query"],
    skip: ["aliases", "replace", "options", "withCheckOption"],
    run: (w, f, place) => {
      w.found.act("admin");
      target(w, f["view"], "admin");
      w.visit(f["query"], place);
    },
  },
  CreateTableAsStmt: {
    walk: ["query"],
    enter: { into: "IntoClause" },
    skip: ["objtype", "is_select_into", "if_not_exists"],
    run: (w) => w.found.act("admin"),
  },
  IntoClause: {
    own: ["rel"],
    skip: ["colNames", "accessMethod", "options", "onCommit", "tableSpaceName", "skipData"],
    run: (w, f) => {
      w.found.act("admin");
      target(w, f["rel"], "admin");
    },
  },
  RefreshMatViewStmt: {
    own: ["relation"],
    skip: ["concurrent", "skipData"],
    run: (w, f) => {
      w.found.act("write");
      target(w, f["relation"], "write");
    },
  },
  TruncateStmt: { own: ["relations"], skip: ["restart_seqs", "behavior"], run: RELATIONS_TO_WRITE },
  LockStmt: { own: ["relations"], skip: ["mode", "nowait"], run: RELATIONS_TO_WRITE },
  CreateSchemaStmt: {
    walk: ["schemaElts"],
    skip: ["schemaname", "authrole", "if_not_exists"],
    run: (w) => w.found.act("admin"),
  },
  CreateSeqStmt: onTable("sequence", { skip: ["options", "ownerId", "for_identity", "if_not_exists"] }),
  AlterSeqStmt: onTable("sequence", { skip: ["options", "for_identity", "missing_ok"] }),
  CreateEnumStmt: { skip: ["typeName", "vals"], run: (w) => w.found.act("admin") },
  AlterEnumStmt: {
    skip: ["typeName", "oldVal", "newVal", "newValNeighbor", "newValIsAfter", "skipIfNewValExists"],
    run: (w) => w.found.act("admin"),
  },
  CompositeTypeStmt: { skip: ["typevar", "coldeflist"], run: (w) => w.found.act("admin") },
  CreateDomainStmt: {
    walk: ["constraints"],
    skip: ["domainname", "typeName", "collClause"],
    run: (w) => w.found.act("admin"),
  },
  AlterDomainStmt: {
    walk: ["def"],
    skip: ["subtype", "typeName", "name", "behavior", "missing_ok"],
    run: (w) => w.found.act("admin"),
  },
  DropStmt: {
    own: ["objects", "removeType"],
    skip: ["behavior", "missing_ok", "concurrent"],
    run: (w, f) => onObjects(w, textOf(f["removeType"]), listOf(f["objects"])),
  },
  CommentStmt: {
    own: ["objtype", "object"],
    skip: ["comment"],
    run: (w, f) => onObjects(w, textOf(f["objtype"]), [f["object"]]),
  },
  RenameStmt: {
    own: ["renameType", "relation", "subname"],
    skip: ["relationType", "object", "newname", "behavior", "missing_ok"],
    run: rename,
  },
  AlterObjectSchemaStmt: onTable("relation", { skip: ["objectType", "object", "newschema", "missing_ok"] }),
  AlterOwnerStmt: onTable("relation", { skip: ["objectType", "object", "newowner"] }),
  GrantStmt: {
    own: ["objects", "objtype", "targtype"],
    skip: ["is_grant", "privileges", "grantees", "grant_option", "grantor", "behavior"],
    run: (w, f) => {
      w.found.act("admin");
      const tables = textOf(f["objtype"]) === "OBJECT_TABLE" || textOf(f["objtype"]) === "OBJECT_SEQUENCE";
      if (textOf(f["targtype"]) === "ACL_TARGET_OBJECT" && tables) onTables(w, f["objects"], "admin");
      if (textOf(f["targtype"]) === "ACL_TARGET_ALL_IN_SCHEMA") w.found.doubt("it is about all objects of a schema");
    },
  },
  AlterDefaultPrivilegesStmt: { skip: ["options", "action"], run: (w) => w.found.act("admin") },
  CreatePolicyStmt: onTable("table", {
    walk: ["qual", "with_check"],
    skip: ["policy_name", "cmd_name", "permissive", "roles"],
  }),
  AlterPolicyStmt: onTable("table", { walk: ["qual", "with_check"], skip: ["policy_name", "roles"] }),
  CreateTrigStmt: {
    own: ["relation", "funcname"],
    walk: ["whenClause"],
    skip: [
      "replace",
      "isconstraint",
      "trigname",
      "args",
      "row",
      "timing",
      "events",
      "columns",
      "transitionRels",
      "deferrable",
      "initdeferred",
      "constrrel",
    ],
    run: (w, f) => {
      w.found.act("admin");
      target(w, f["relation"], "admin");
      const names = namesOf(f["funcname"]) ?? [];
      noteFunction(w.found, { schema: names.slice(0, -1).join("."), name: names.at(-1) ?? "" });
    },
  },
  RuleStmt: onTable("relation", {
    walk: ["whereClause", "actions"],
    skip: ["rulename", "event", "instead", "replace"],
  }),
  VacuumStmt: { walk: ["rels"], skip: ["options", "is_vacuumcmd"], run: (w) => w.found.act("admin") },
  VacuumRelation: {
    own: ["relation"],
    skip: ["oid", "va_cols"],
    run: (w, f) => {
      if (isFields(f["relation"])) target(w, f["relation"], "admin");
    },
  },
  ClusterStmt: onTable("relation", { skip: ["indexname", "params"] }),
  ReindexStmt: onTable("relation", { skip: ["kind", "name", "params"] }),
  CallStmt: {
    enter: { funccall: "FuncCall" },
    skip: ["outargs"],
    run: (w) => {
      w.found.act("execute");
      w.found.doubt("what a procedure does is not known");
    },
  },
  CopyStmt: {
    own: ["relation", "query", "attlist", "is_from", "is_program", "filename", "options", "whereClause"],
    run: copy,
  },
};
