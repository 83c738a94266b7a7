/**
 * Statements that make, change, show or lend an authenticator, and those that lead out of the database. The first are `credential`,
 * the second `admin`, and both whatever else they say.
 */
import type { Action } from "#contract/operation.ts";
import type { Shape, Shapes } from "./walker.ts";

function only(action: Action, doubt?: string): Shape {
  return {
    opaque: true,
    run: (w) => {
      w.found.act(action);
      if (doubt !== undefined) w.found.doubt(doubt);
    },
  };
}

const credential = only("credential");
const OUTSIDE = "it leads out of the database";
const UNREAD = "its details are not read";

export const ROLES: Shapes = {
  CreateRoleStmt: credential,
  AlterRoleStmt: credential,
  AlterRoleSetStmt: credential,
  DropRoleStmt: credential,
  GrantRoleStmt: credential,
  CreateUserMappingStmt: credential,
  AlterUserMappingStmt: credential,
  DropUserMappingStmt: credential,
  AlterSystemStmt: credential,
  DropOwnedStmt: only("admin", UNREAD),
  ReassignOwnedStmt: only("admin", UNREAD),
  CreateFdwStmt: only("admin", OUTSIDE),
  AlterFdwStmt: only("admin", OUTSIDE),
  CreateForeignServerStmt: only("admin", OUTSIDE),
  AlterForeignServerStmt: only("admin", OUTSIDE),
  CreateForeignTableStmt: only("admin", OUTSIDE),
  ImportForeignSchemaStmt: only("admin", OUTSIDE),
  CreateSubscriptionStmt: only("admin", OUTSIDE),
  AlterSubscriptionStmt: only("admin", OUTSIDE),
  DropSubscriptionStmt: only("admin", OUTSIDE),
  CreatePublicationStmt: only("admin", OUTSIDE),
  AlterPublicationStmt: only("admin", OUTSIDE),
  CreateExtensionStmt: only("admin", "an extension brings code"),
  AlterExtensionStmt: only("admin", "an extension brings code"),
  AlterExtensionContentsStmt: only("admin", UNREAD),
  LoadStmt: only("admin", "a library brings code"),
  CreatePLangStmt: only("admin", UNREAD),
  CreateTableSpaceStmt: only("admin", "it uses the server's files"),
  DropTableSpaceStmt: only("admin", "it uses the server's files"),
  AlterTableSpaceOptionsStmt: only("admin", UNREAD),
  AlterTableMoveAllStmt: only("admin", UNREAD),
  CreatedbStmt: only("admin"),
  DropdbStmt: only("admin"),
  AlterDatabaseStmt: only("admin"),
  AlterDatabaseRefreshCollStmt: only("admin"),
  AlterDatabaseSetStmt: only("credential", "a setting of a database holds for other sessions"),
  CheckPointStmt: only("admin"),
  SecLabelStmt: only("admin", UNREAD),
  CreateAmStmt: only("admin", UNREAD),
  CreateEventTrigStmt: only("admin", "a function will run on other statements"),
  AlterEventTrigStmt: only("admin", UNREAD),
  CreateOpClassStmt: only("admin", UNREAD),
  CreateOpFamilyStmt: only("admin", UNREAD),
  AlterOpFamilyStmt: only("admin", UNREAD),
  CreateConversionStmt: only("admin", UNREAD),
  CreateCastStmt: only("admin", "a cast runs a function"),
  CreateTransformStmt: only("admin", UNREAD),
  AlterOperatorStmt: only("admin", UNREAD),
  AlterTypeStmt: only("admin", UNREAD),
  DefineStmt: only("admin", UNREAD),
  CreateRangeStmt: only("admin", UNREAD),
  CreateStatsStmt: only("admin", UNREAD),
  AlterStatsStmt: only("admin", UNREAD),
  AlterCollationStmt: only("admin", UNREAD),
  AlterTSDictionaryStmt: only("admin", UNREAD),
  AlterTSConfigurationStmt: only("admin", UNREAD),
  AlterObjectDependsStmt: only("admin", UNREAD),
  CreateFunctionStmt: only("admin", "a function's body is not read"),
  AlterFunctionStmt: only("admin", UNREAD),
  DoStmt: only("execute", "a block of code is not read"),
};
