"""Calls every route of the Dropbox stand-in through Dropbox's own SDK and checks what comes back.

The SDK validates each result against the published specification; this script turns its tolerance for
unknown fields and tags off first. What only the owner of the stand-in can do (click Allow, let time pass)
is asked for on standard output, in lines that begin with "@ ", and answered on standard input.
"""

import hashlib
import sys
from datetime import datetime

import dropbox
import requests
from dropbox import DropboxOAuth2FlowNoRedirect, dropbox_client, exceptions, files
from dropbox.content_hash import DropboxContentHasher

MIB = 1024 * 1024
BLOCK = 4 * MIB
KEY, SECRET = "test-app-key", "test-app-secret"
ALL_SCOPES = "account_info.read files.metadata.read files.content.write files.content.read"


def validate_strictly():
    """Makes the SDK refuse fields and tags that the specification does not have."""
    decode = dropbox_client.stone_serializers.json_compat_obj_decode

    class Strict:
        def __getattr__(self, name):
            return getattr(original, name)

        @staticmethod
        def json_compat_obj_decode(data_type, obj, **kwargs):
            kwargs["strict"] = True
            return decode(data_type, obj, **kwargs)

    original = dropbox_client.stone_serializers
    dropbox_client.stone_serializers = Strict()


def ask(request):
    print("@ " + request, flush=True)
    return sys.stdin.readline().rstrip("\n")


def check(what, is_right, seen=""):
    if not is_right:
        raise AssertionError(f"{what}: {seen}")


def refused(kind, call, *arguments, **named):
    """The exception that a call must end with."""
    try:
        result = call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"not refused, but answered {result}")


def pattern(size):
    noise = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(256))
    return (noise * (size // len(noise) + 1))[:size]


def content_hash(data):
    hasher = DropboxContentHasher()
    hasher.update(data)
    return hasher.hexdigest()


def check_file(what, metadata, data):
    check(what, isinstance(metadata, files.FileMetadata), metadata)
    check(what, metadata.size == len(data), metadata.size)
    check(what, metadata.content_hash == content_hash(data), metadata.content_hash)


def client(**named):
    return dropbox.Dropbox(app_key=KEY, max_retries_on_error=0, max_retries_on_rate_limit=0, **named)


def authorization():
    """The code flow with the secret and with PKCE; wrong codes, keys and tokens."""
    with_secret = DropboxOAuth2FlowNoRedirect(KEY, SECRET, token_access_type="offline")
    code = ask("allow " + with_secret.start())
    granted = with_secret.finish(code)
    check("scope", sorted(granted.scope.split()) == sorted(ALL_SCOPES.split()), granted.scope)
    check("access token", granted.access_token.startswith("sl."))
    check("refresh token", bool(granted.refresh_token))
    check("account", granted.account_id.startswith("dbid:"), granted.account_id)
    error = refused(requests.exceptions.HTTPError, with_secret.finish, code)
    check("a code is good once", "400" in str(error), error)

    online = DropboxOAuth2FlowNoRedirect(KEY, SECRET)
    granted_online = online.finish(ask("allow " + online.start()))
    check("no refresh token without offline", not granted_online.refresh_token)

    with_pkce = DropboxOAuth2FlowNoRedirect(KEY, use_pkce=True, token_access_type="offline")
    granted_pkce = with_pkce.finish(ask("allow " + with_pkce.start()))
    pkce_client = client(oauth2_refresh_token=granted_pkce.refresh_token)
    check("PKCE refresh without secret", pkce_client.check_user("hello").result == "hello")

    other_verifier = DropboxOAuth2FlowNoRedirect(KEY, use_pkce=True)
    code = ask("allow " + other_verifier.start())
    other_verifier.code_verifier = "v" * 64
    refused(requests.exceptions.HTTPError, other_verifier.finish, code)

    malformed = client(oauth2_refresh_token="pasted-code", app_secret=SECRET)
    error = refused(exceptions.AuthError, malformed.check_user, "x")
    check("malformed refresh token", error.error.is_invalid_access_token(), error)
    wrong_secret = client(oauth2_refresh_token=granted.refresh_token, app_secret="wrong")
    error = refused(exceptions.BadInputError, wrong_secret.check_user, "x")
    check("wrong secret", "invalid_client" in error.message, error.message)

    subset = DropboxOAuth2FlowNoRedirect(
        KEY, SECRET, token_access_type="offline", scope=["files.metadata.read"]
    )
    granted_subset = subset.finish(ask("allow " + subset.start()))
    limited = client(oauth2_refresh_token=granted_subset.refresh_token, app_secret=SECRET)
    limited.files_list_folder("")
    error = refused(exceptions.AuthError, limited.files_upload, b"x", "/x")
    check("missing scope of the token", error.error.is_missing_scope(), error)
    scope = error.error.get_missing_scope().required_scope
    check("required scope", scope == "files.content.write", scope)
    return granted


def expiry(dbx):
    """An expired access token is refreshed once, and the call repeated."""
    before = int(ask("requests oauth2/token"))
    ask("expire")
    dbx.files_list_folder("")
    check("one refresh", int(ask("requests oauth2/token")) == before + 1)
    stale = dropbox.Dropbox(oauth2_access_token=dbx._oauth2_access_token)
    ask("hours 5")
    error = refused(exceptions.AuthError, stale.check_user, "x")
    check("expired", error.error.is_expired_access_token(), error)
    error = refused(
        exceptions.BadInputError, dropbox.Dropbox(oauth2_access_token="nonsense").check_user, "x"
    )
    check("malformed token", "malformed" in error.message, error.message)
    error = refused(
        exceptions.AuthError, dropbox.Dropbox(oauth2_access_token="sl.unknown").check_user, "x"
    )
    check("unknown token", error.error.is_invalid_access_token(), error)


def app_without_scope(dbx):
    ask("scopes files.metadata.read")
    error = refused(exceptions.BadInputError, dbx.files_upload, b"x", "/x")
    check("scope of the app", "does not have the required scope" in error.message, error.message)
    ask("scopes " + ALL_SCOPES)


def uploads(dbx):
    """files/upload in every write mode."""
    when = datetime(2026, 11, 21, 4, 12, 9)
    first = dbx.files_upload(b"one", "/Über/Einß.txt", client_modified=when)
    check_file("upload", first, b"one")
    check("client_modified", first.client_modified == when, first.client_modified)
    check("path_display", first.path_display == "/Über/Einß.txt", first.path_display)
    check("path_lower", first.path_lower == "/über/einß.txt", first.path_lower)
    same = dbx.files_upload(b"one", "/über/EINß.TXT")
    check("identical content is not written", same.rev == first.rev, same.rev)
    error = refused(exceptions.ApiError, dbx.files_upload, b"two", "/über/einß.txt")
    reason = error.error.get_path().reason
    check("conflict", reason.is_conflict() and reason.get_conflict().is_file(), error)
    check("bytes are kept", bool(error.error.get_path().upload_session_id))
    renamed = dbx.files_upload(b"two", "/über/einß.txt", autorename=True)
    check("autorename", renamed.name != first.name, renamed.name)
    second = dbx.files_upload(b"two", "/über/einß.txt", mode=files.WriteMode.overwrite)
    check("overwrite", second.rev != first.rev and second.id == first.id)
    update = files.WriteMode.update(first.rev)
    refused(exceptions.ApiError, dbx.files_upload, b"three", "/über/einß.txt", mode=update)
    update = files.WriteMode.update(second.rev)
    dbx.files_upload(b"three", "/über/einß.txt", mode=update)
    check_file("empty file", dbx.files_upload(b"", "/empty"), b"")
    error = refused(exceptions.ApiError, dbx.files_upload, b"x", "/a\\b")
    check("malformed path", error.error.get_path().reason.is_malformed_path(), error)
    error = refused(
        exceptions.ApiError, dbx.files_upload, b"x", "/hashed", content_hash=content_hash(b"y")
    )
    check("content hash", error.error.is_content_hash_mismatch(), error)
    # The refused bytes can be committed from their session.
    error = refused(exceptions.ApiError, dbx.files_upload, b"kept", "/empty")
    cursor = files.UploadSessionCursor(error.error.get_path().upload_session_id, 4)
    kept = dbx.files_upload_session_finish(b"", cursor, files.CommitInfo("/kept"))
    check_file("commit from the kept session", kept, b"kept")


def sequential_session(dbx):
    data = pattern(2 * BLOCK + 12345)
    session = dbx.files_upload_session_start(data[:1000]).session_id
    cursor = files.UploadSessionCursor(session, 1000)
    check("append", dbx.files_upload_session_append_v2(data[1000:BLOCK], cursor) is None)
    error = refused(exceptions.ApiError, dbx.files_upload_session_append_v2, data[:5], cursor)
    correct = error.error.get_incorrect_offset().correct_offset
    check("incorrect offset", correct == BLOCK, correct)
    error = refused(
        exceptions.ApiError,
        dbx.files_upload_session_finish,
        b"",
        cursor,
        files.CommitInfo("/sequential"),
    )
    lookup = error.error.get_lookup_failed()
    check("finish", lookup.get_incorrect_offset().correct_offset == BLOCK, error)
    cursor = files.UploadSessionCursor(session, BLOCK)
    done = dbx.files_upload_session_finish(data[BLOCK:], cursor, files.CommitInfo("/sequential"))
    check_file("sequential session", done, data)
    error = refused(exceptions.ApiError, dbx.files_upload_session_append_v2, b"x", cursor)
    check("a finished session is gone", error.error.is_not_found(), error)
    return data


def concurrent_session(dbx):
    data = pattern(3 * BLOCK + 777)
    kind = files.UploadSessionType.concurrent
    error = refused(
        exceptions.ApiError, dbx.files_upload_session_start, b"x", session_type=kind
    )
    check("no data at start", error.error.is_concurrent_session_data_not_allowed(), error)
    error = refused(
        exceptions.ApiError, dbx.files_upload_session_start, b"", close=True, session_type=kind
    )
    check("no closed start", error.error.is_concurrent_session_close_not_allowed(), error)
    session = dbx.files_upload_session_start(b"", session_type=kind).session_id

    def append(start, end, close=False):
        cursor = files.UploadSessionCursor(session, start)
        dbx.files_upload_session_append_v2(data[start:end], cursor, close=close)

    append(2 * BLOCK, 3 * BLOCK)
    error = refused(exceptions.ApiError, append, 5, 5 + BLOCK)
    check("offset", error.error.is_concurrent_session_invalid_offset(), error)
    error = refused(exceptions.ApiError, append, 0, 100)
    check("size", error.error.is_concurrent_session_invalid_data_size(), error)
    append(0, 2 * BLOCK)
    commit = files.CommitInfo("/concurrent", mode=files.WriteMode.overwrite)
    cursor = files.UploadSessionCursor(session, len(data))
    error = refused(exceptions.ApiError, dbx.files_upload_session_finish, b"", cursor, commit)
    check("open", error.error.is_concurrent_session_not_closed(), error)
    append(3 * BLOCK, len(data), close=True)
    error = refused(exceptions.ApiError, append, 3 * BLOCK, len(data), close=True)
    check("closed", error.error.is_closed(), error)
    error = refused(exceptions.ApiError, dbx.files_upload_session_finish, b"x", cursor, commit)
    check("no data at finish", error.error.is_concurrent_session_data_not_allowed(), error)
    done = dbx.files_upload_session_finish(b"", cursor, commit)
    check_file("concurrent session", done, data)

    session = dbx.files_upload_session_start(b"", session_type=kind).session_id
    append(BLOCK, 2 * BLOCK, close=True)
    cursor = files.UploadSessionCursor(session, 2 * BLOCK)
    error = refused(exceptions.ApiError, dbx.files_upload_session_finish, b"", cursor, commit)
    check("missing data", error.error.is_concurrent_session_missing_data(), error)


def batches(dbx):
    ids = dbx.files_upload_session_start_batch(3).session_ids
    check("three sessions", len(set(ids)) == 3, ids)
    small = [b"first", b"second"]
    for session, data in zip(ids, small):
        cursor = files.UploadSessionCursor(session, 0)
        dbx.files_upload_session_append_v2(data, cursor, close=True)
    closed_at_start = dbx.files_upload_session_start(b"third", close=True).session_id

    def entry(session, size, path):
        cursor = files.UploadSessionCursor(session, size)
        return files.UploadSessionFinishArg(cursor, files.CommitInfo(path))

    done = dbx.files_upload_session_finish_batch_v2(
        [
            entry(ids[0], 5, "/batch/1"),
            entry(ids[1], 6, "/batch/2"),
            entry(closed_at_start, 5, "/batch/3"),
            entry(ids[2], 0, "/batch/open"),
            entry("pid_upload_session:none", 0, "/batch/none"),
        ]
    ).entries
    for result, data in zip(done[:3], small + [b"third"]):
        check_file("batch entry", result.get_success(), data)
    not_closed = done[3].get_failure().get_lookup_failed()
    check("open session in a batch", not_closed.is_not_closed(), done[3])
    not_found = done[4].get_failure().get_lookup_failed()
    check("unknown session in a batch", not_found.is_not_found(), done[4])

    concurrent = files.UploadSessionType.concurrent
    session = dbx.files_upload_session_start_batch(1, session_type=concurrent).session_ids[0]
    cursor = files.UploadSessionCursor(session, 0)
    dbx.files_upload_session_append_v2(b"tail only", cursor, close=True)
    done = dbx.files_upload_session_finish_batch_v2([entry(session, 9, "/batch/4")]).entries
    check_file("concurrent session in a batch", done[0].get_success(), b"tail only")


def listing(dbx):
    names = set()
    page = dbx.files_list_folder("/batch")
    pages = 1
    while True:
        names.update(entry.name for entry in page.entries)
        if not page.has_more:
            break
        page = dbx.files_list_folder_continue(page.cursor)
        pages += 1
    check("names", names == {"1", "2", "3", "4"}, names)
    check("pages", pages == 2, pages)
    # The last cursor goes on to tell of changes.
    dbx.files_upload(b"new", "/batch/5")
    dbx.files_delete_v2("/batch/4")
    changes = dbx.files_list_folder_continue(page.cursor).entries
    kinds = {entry.name: type(entry).__name__ for entry in changes}
    check("changes", kinds == {"4": "DeletedMetadata", "5": "FileMetadata"}, kinds)
    dbx.files_list_folder("", recursive=True, limit=2000)
    error = refused(exceptions.ApiError, dbx.files_list_folder, "/nowhere")
    check("missing folder", error.error.get_path().is_not_found(), error)
    error = refused(exceptions.ApiError, dbx.files_list_folder, "/empty")
    check("a file is no folder", error.error.get_path().is_not_folder(), error)
    ask("reset-cursors")
    error = refused(exceptions.ApiError, dbx.files_list_folder_continue, page.cursor)
    check("reset", error.error.is_reset(), error)
    refused(exceptions.BadInputError, dbx.files_list_folder_continue, "made-up")


def metadata(dbx):
    check("file", isinstance(dbx.files_get_metadata("/BATCH/1"), files.FileMetadata))
    check("folder", isinstance(dbx.files_get_metadata("/batch"), files.FolderMetadata))
    error = refused(exceptions.ApiError, dbx.files_get_metadata, "/batch/4")
    check("deleted", error.error.get_path().is_not_found(), error)
    deleted = dbx.files_get_metadata("/batch/4", include_deleted=True)
    check("deleted", isinstance(deleted, files.DeletedMetadata), deleted)
    made = dbx.files_create_folder_v2("/made/below").metadata
    check("created folder", isinstance(made, files.FolderMetadata), made)
    error = refused(exceptions.ApiError, dbx.files_create_folder_v2, "/made")
    check("folder is there", error.error.get_path().get_conflict().is_folder(), error)


def downloads(dbx, data):
    found, response = dbx.files_download("/sequential")
    check("download", response.content == data)
    check_file("download", found, data)
    by_id, response = dbx.files_download(found.id)
    check("by id", by_id.rev == found.rev and response.content == data)
    named, response = dbx.files_download("/über/einß.txt")
    check("escaped header", named.path_display == "/Über/Einß.txt", named.path_display)
    # The SDK's own check of the content hash runs when a download is read to its end.
    found, response = dbx.files_download("/concurrent")
    check_file("download", found, response.content)
    error = refused(exceptions.ApiError, dbx.files_download, "/nowhere")
    check("missing file", error.error.get_path().is_not_found(), error)
    error = refused(exceptions.ApiError, dbx.files_download, "/batch")
    check("a folder is no file", error.error.get_path().is_not_file(), error)


def deletions(dbx):
    rev = dbx.files_get_metadata("/batch/1").rev
    refused(exceptions.ApiError, dbx.files_delete_v2, "/batch/1", parent_rev="0123456789")
    gone = dbx.files_delete_v2("/batch/1", parent_rev=rev).metadata
    check("deleted as it was", isinstance(gone, files.FileMetadata), gone)
    error = refused(exceptions.ApiError, dbx.files_delete_v2, "/batch/1")
    check("gone already", error.error.get_path_lookup().is_not_found(), error)
    paths = ["/batch/2", "/batch/nowhere", "/batch/3"]
    launch = dbx.files_delete_batch([files.DeleteArg(path) for path in paths])
    job = launch.get_async_job_id()
    polls = 0
    while True:
        status = dbx.files_delete_batch_check(job)
        polls += 1
        if not status.is_in_progress():
            break
    check("polled", polls == 2, polls)
    entries = status.get_complete().entries
    check("deleted", entries[0].get_success().metadata.name == "2", entries)
    lookup = entries[1].get_failure().get_path_lookup()
    check("missing in a batch", lookup.is_not_found(), entries)
    error = refused(exceptions.ApiError, dbx.files_delete_batch_check, "job-none")
    check("unknown job", error.error.is_invalid_async_job_id(), error)


def space(dbx):
    usage = dbx.users_get_space_usage()
    allocated = usage.allocation.get_individual().allocated
    check("space", 0 < usage.used < allocated, usage)
    ask(f"quota {usage.used + 10}")
    session = dbx.files_upload_session_start(pattern(100)).session_id
    cursor = files.UploadSessionCursor(session, 100)
    commit = files.CommitInfo("/too-big")
    error = refused(exceptions.ApiError, dbx.files_upload_session_finish, b"", cursor, commit)
    check("no space", error.error.get_path().is_insufficient_space(), error)
    error = refused(exceptions.ApiError, dbx.files_upload, pattern(100), "/too-big")
    check("no space", error.error.get_path().reason.is_insufficient_space(), error)
    ask(f"quota {allocated}")
    done = dbx.files_upload_session_finish(b"", cursor, commit)
    check_file("the session was kept", done, pattern(100))


def old_sessions(dbx):
    session = dbx.files_upload_session_start(b"x").session_id
    ask("hours 169")
    cursor = files.UploadSessionCursor(session, 1)
    error = refused(exceptions.ApiError, dbx.files_upload_session_append_v2, b"y", cursor)
    check("seven days", error.error.is_not_found(), error)


def revocation(dbx):
    dbx.auth_token_revoke()
    error = refused(exceptions.AuthError, dbx.files_list_folder, "")
    check("revoked", error.error.is_invalid_access_token(), error)
    error = refused(exceptions.AuthError, dbx.refresh_access_token)
    check("refresh token too", error.error.is_invalid_access_token(), error)


def main():
    validate_strictly()
    granted = authorization()
    dbx = client(oauth2_refresh_token=granted.refresh_token, app_secret=SECRET)
    expiry(dbx)
    app_without_scope(dbx)
    uploads(dbx)
    data = sequential_session(dbx)
    concurrent_session(dbx)
    batches(dbx)
    listing(dbx)
    metadata(dbx)
    downloads(dbx, data)
    deletions(dbx)
    space(dbx)
    old_sessions(dbx)
    revocation(dbx)
    print("conformance: every route answered as the SDK expects")


if __name__ == "__main__":
    main()
