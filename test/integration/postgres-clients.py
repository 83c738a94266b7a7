"""One driver's way through a session: rows, a parameter, a denied DROP that raises the driver's own error, and a session that goes on.

Usage: postgres-clients.py psycopg|asyncpg|sqlalchemy DSN-as-JSON. Prints one JSON object.
"""
import json
import socket
import ssl
import sys

driver, options = sys.argv[1], json.loads(sys.argv[2])
out = {}


def with_psycopg():
    import psycopg

    with psycopg.connect(autocommit=True, **options) as conn:
        info = conn.pgconn.ssl_in_use
        out["tls"] = bool(info)
        out["user"] = conn.execute("select current_user").fetchone()[0]
        out["rows"] = [list(r) for r in conn.execute("select a, b from t order by a")]
        out["parameter"] = conn.execute("select b from t where a = %s", (2,)).fetchone()[0]
        for i in range(8):  # prepared after five, closed by DEALLOCATE or Close
            conn.execute("select b from t where a = %s", (i,)).fetchall()
        try:
            conn.execute("drop table t")
        except psycopg.Error as e:
            out["denied"] = [e.sqlstate, e.diag.message_primary, e.diag.message_hint]
        with conn.transaction():
            out["transaction"] = conn.execute("select count(*) from t").fetchone()[0]
        with conn.pipeline():
            cursors = [conn.execute("select %s::int", (i,)) for i in range(5)]
        out["pipeline"] = [c.fetchone()[0] for c in cursors]
        with conn.cursor() as cur, cur.copy("copy (select a from t order by a) to stdout") as copy:
            out["copy"] = b"".join(bytes(b) for b in copy).decode()


def with_sqlalchemy():
    """The ORM on psycopg: what it asks at its first connection, a model, a server-side cursor, reflection, a pool that resets."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import ProgrammingError
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "t"
        a: Mapped[int] = mapped_column(primary_key=True)
        b: Mapped[str]

    engine = create_engine("postgresql+psycopg://", connect_args=options, pool_size=1, max_overflow=0, pool_pre_ping=True)
    with Session(engine) as session:
        out["tls"] = session.connection().connection.dbapi_connection.pgconn.ssl_in_use
        out["user"] = session.scalar(text("select current_user"))
        out["rows"] = [[row.a, row.b] for row in session.query(Row).order_by(Row.a)]
        out["parameter"] = session.get(Row, 2).b
        try:
            session.execute(text("drop table t"))
        except ProgrammingError as e:
            out["denied"] = [e.orig.sqlstate, e.orig.diag.message_primary, e.orig.diag.message_hint]
        session.rollback()
        try:
            session.add(Row(a=3, b="three"))
            session.commit()
        except ProgrammingError as e:
            out["deniedInsert"] = e.orig.sqlstate
        session.rollback()
        streamed = session.connection(execution_options={"stream_results": True, "max_row_buffer": 1})
        out["cursor"] = [a for (a,) in streamed.execute(text("select a from t order by a"))]
    out["columns"] = [column["name"] for column in inspect(engine).get_columns("t")]
    engine.dispose()


async def with_asyncpg():
    import asyncpg

    given = dict(options)
    ca = given.pop("ca", None)
    mode = given.pop("sslmode")
    if mode == "verify-full":
        context = ssl.create_default_context(cadata=ca)
        # The name is the gateway's to resolve; here it is the test's.
        resolve = socket.getaddrinfo
        socket.getaddrinfo = lambda host, *a, **k: resolve("127.0.0.1" if host == "db.test" else host, *a, **k)
        given["host"] = "db.test"
    else:
        context = "require" if mode == "require" else "disable"
    conn = await asyncpg.connect(ssl=context, **given)
    out["tls"] = conn._transport.get_extra_info("ssl_object") is not None
    out["user"] = await conn.fetchval("select current_user")
    out["rows"] = [list(r) for r in await conn.fetch("select a, b from t order by a")]
    out["parameter"] = await conn.fetchval("select b from t where a = $1", 2)
    try:
        await conn.execute("drop table t")
    except asyncpg.PostgresError as e:
        out["denied"] = [e.sqlstate, e.message, e.hint]
    try:
        await conn.fetch("delete from t where a = $1", 1)
    except asyncpg.PostgresError as e:
        out["deniedPrepared"] = [e.sqlstate]
    async with conn.transaction():
        out["transaction"] = await conn.fetchval("select count(*) from t")
        out["cursor"] = [r["a"] async for r in conn.cursor("select a from t order by a", prefetch=1)]
    await conn.close()


if driver == "psycopg":
    with_psycopg()
elif driver == "sqlalchemy":
    with_sqlalchemy()
else:
    import asyncio

    asyncio.run(with_asyncpg())
print(json.dumps(out))
