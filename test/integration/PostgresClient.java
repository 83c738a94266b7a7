/*
 * pgjdbc's way through a session, as a Java program has it: rows, parameters, a statement prepared on the server after five uses, a
 * denied DROP that raises the driver's own exception, a cursor by fetch size, COPY, the driver's own catalogue queries.
 *
 * Usage: java -cp postgresql.jar PostgresClient.java JDBC-URL USER PASSWORD. Prints one JSON object.
 */
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

public class PostgresClient {
  static final List<String> OUT = new ArrayList<>();

  public static void main(String[] args) throws Exception {
    try (Connection connection = DriverManager.getConnection(args[0], args[1], args[2])) {
      put("user", text(one(connection, "select current_user")));
      put("rows", rows(connection));
      put("parameter", text(prepared(connection)));
      put("binary", binary(connection));
      put("denied", denied(connection, "drop table t"));
      put("deniedPrepared", denied(connection, "delete from t where a = 1"));
      connection.setAutoCommit(false);
      put("transaction", one(connection, "select count(*) from t"));
      put("cursor", cursor(connection));
      connection.commit();
      connection.setAutoCommit(true);
      StringWriter copied = new StringWriter();
      connection.unwrap(PGConnection.class).getCopyAPI().copyOut("copy (select a from t order by a) to stdout", copied);
      put("copy", text(copied.toString()));
      put("columns", columns(connection));
    }
    System.out.println("{" + String.join(",", OUT) + "}");
  }

  static String one(Connection connection, String sql) throws Exception {
    try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(sql)) {
      result.next();
      return result.getString(1);
    }
  }

  static String rows(Connection connection) throws Exception {
    List<String> rows = new ArrayList<>();
    try (Statement statement = connection.createStatement();
        ResultSet result = statement.executeQuery("select a, b from t order by a")) {
      while (result.next()) rows.add("[" + result.getInt(1) + "," + text(result.getString(2)) + "]");
    }
    return "[" + String.join(",", rows) + "]";
  }

  /** Executed often enough to be prepared by name, and its rows to come in binary. */
  static String prepared(Connection connection) throws Exception {
    String last = "";
    try (PreparedStatement statement = connection.prepareStatement("select b from t where a = ?")) {
      for (int i = 0; i < 8; i++) {
        statement.setInt(1, 1 + i % 2);
        try (ResultSet result = statement.executeQuery()) {
          result.next();
          last = result.getString(1);
        }
      }
    }
    return last;
  }

  static String binary(Connection connection) throws Exception {
    String last = "";
    try (PreparedStatement statement = connection.prepareStatement(
        "select ?::int8, 1.5::float8, '2020-02-29'::date, array[1, 2], '00000000-0000-0000-0000-000000000001'::uuid")) {
      for (int i = 0; i < 8; i++) {
        statement.setLong(1, i);
        try (ResultSet result = statement.executeQuery()) {
          result.next();
          last = result.getLong(1) + " " + result.getDouble(2) + " " + result.getDate(3) + " " + Arrays.toString((Object[]) result.getArray(4).getArray()) + " " + result.getObject(5);
        }
      }
    }
    return text(last);
  }

  static String denied(Connection connection, String sql) throws Exception {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.execute();
      return "null";
    } catch (PSQLException fault) {
      var message = fault.getServerErrorMessage();
      return "[" + text(fault.getSQLState()) + "," + text(message.getMessage()) + "," + text(message.getHint()) + "]";
    }
  }

  /** A portal with a row limit. */
  static String cursor(Connection connection) throws Exception {
    List<String> rows = new ArrayList<>();
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(1);
      try (ResultSet result = statement.executeQuery("select a from t order by a")) {
        while (result.next()) rows.add(String.valueOf(result.getInt(1)));
      }
    }
    return "[" + String.join(",", rows) + "]";
  }

  static String columns(Connection connection) throws Exception {
    List<String> names = new ArrayList<>();
    try (ResultSet result = connection.getMetaData().getColumns(null, "public", "t", "%")) {
      while (result.next()) names.add(text(result.getString("COLUMN_NAME")));
    }
    return "[" + String.join(",", names) + "]";
  }

  static void put(String name, String json) {
    OUT.add(text(name) + ":" + json);
  }

  static String text(String value) {
    return value == null ? "null" : "\"" + value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }
}
