"""Certificates for tests, made anew: an authority, and server and client that it signs."""

import subprocess
import types


def make_certificates(folder, server_name="localhost"):
    """Writes `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`, and `other.pem` of another authority.

    Args:
        folder: path of a folder.
        server_name: str, the one name in the server's certificate.

    Returns:
        Namespace with a path for each: `ca`, `server`, `server_key`, `client`, `client_key`, `other`.
    """
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", "-days", 2, "-subj", f"/CN={name}", *_key(name), "-out", f"{name}.pem")
    for name, host in (("server", server_name), ("client", "client")):
        _openssl(folder, "req", "-subj", f"/CN={host}", *_key(name), "-out", f"{name}.csr")
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-extfile", f"{name}.ext")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    names = ("ca", "server", "client", "other")
    paths = {name: folder / f"{name}.pem" for name in names}
    return types.SimpleNamespace(**paths, server_key=folder / "server.key", client_key=folder / "client.key")


def _key(name):
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"


def _openssl(folder, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)
