"""Replace the .py files of a zip or wheel by bytecode. Runs in Pyodide, whose Python will read it.

Starting Python in a page means compiling every standard module that is imported, again on every
visit; bytecode halves that time. `compile.mjs` calls this inside Pyodide under Node, so that the
bytecode is of exactly the Python that the page runs. The same input gives the same bytes.
"""

import base64
import hashlib
import importlib.util
import marshal
import zipfile

# What no lab imports: numpy's own tests, its Fortran and C build helpers, and type stubs.
UNUSED = ("/tests/", "/f2py/", "/_pyinstaller/", "/include/", "numpy/conftest.py")
UNUSED_ENDINGS = (".pyi", ".a", ".pxd", ".h", ".f90", ".c")
# What cannot work in a page, which has neither processes nor sockets.
IMPOSSIBLE = (
    *("/multiprocessing/", "/xmlrpc/", "/wsgiref/", "/http/server.py", "/mailbox.py"),
    *("/imaplib.py", "/poplib.py", "/smtplib.py", "/ftplib.py"),
)
EPOCH = (1980, 1, 1, 0, 0, 0)


def bytecode(source: bytes, name: str, optimize: int) -> bytes:
    """A .pyc that is never checked against its source, which is not there (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=optimize)
    flags = (0b01).to_bytes(4, "little")  # hash-based, unchecked
    return b"".join(
        (
            importlib.util.MAGIC_NUMBER,
            flags,
            importlib.util.source_hash(source),
            marshal.dumps(code),
        )
    )


def compile_archive(source: str, target: str, optimize: int) -> None:
    """Write `target`, the archive `source` with .pyc in place of .py and without what is unused."""
    record_name, record = "", []
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:

        def put(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, data, compresslevel=9)

        for name in sorted(old.namelist()):
            spot = f"/{name}"
            if any(part in spot for part in UNUSED) or spot.startswith(IMPOSSIBLE):
                continue
            if name.endswith((*UNUSED_ENDINGS, "/")):
                continue
            data = old.read(name)
            if name.endswith(".dist-info/RECORD"):
                record_name = name
                continue
            if name.endswith(".py"):
                name, data = f"{name}c", bytecode(data, name, optimize)
            put(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}\n")
        if record_name:
            put(record_name, "".join([*record, f"{record_name},,\n"]).encode())
