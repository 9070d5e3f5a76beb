"""Works through the store with boto3; every step asserts, the last line tells that all were done.

Arguments: endpoint, access key, secret key.
"""

import base64
import hashlib
import http.client
import io
import os
import sys
import urllib.error
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

ENDPOINT, ACCESS, SECRET = sys.argv[1:4]


def client(secret=SECRET, access=ACCESS, **config):
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **config),
    )


def code_of(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def fetch(url, data=None, method="GET"):
    try:
        request = urllib.request.Request(url, data=data, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def objects(s3):
    body = b"hello " * 1000
    put = s3.put_object(Bucket="b-one", Key="dir/hello", Body=body, Metadata={"who": "me"})
    assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest()
    got = s3.get_object(Bucket="b-one", Key="dir/hello")
    assert got["Body"].read() == body and got["ContentLength"] == len(body)
    assert got["Metadata"] == {"who": "me"}
    head = s3.head_object(Bucket="b-one", Key="dir/hello")
    assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"]
    part = s3.get_object(Bucket="b-one", Key="dir/hello", Range="bytes=6-10")
    assert part["Body"].read() == b"hello" and part["ContentRange"] == "bytes 6-10/6000"
    assert s3.get_object(Bucket="b-one", Key="dir/hello", Range="bytes=-3")["Body"].read() == b"lo "
    assert code_of(s3.get_object, Bucket="b-one", Key="dir/hello", Range="bytes=7000-") == "InvalidRange"
    assert code_of(s3.get_object, Bucket="b-one", Key="dir/hello", IfNoneMatch=put["ETag"]) == "304"
    assert code_of(s3.get_object, Bucket="b-one", Key="dir/hello", IfMatch='"x"') == "PreconditionFailed"
    assert code_of(s3.put_object, Bucket="b-one", Key="dir/hello", Body=b"", IfNoneMatch="*") == "PreconditionFailed"
    s3.copy_object(Bucket="b-one", Key="copy ü", CopySource={"Bucket": "b-one", "Key": "dir/hello"})
    assert s3.get_object(Bucket="b-one", Key="copy ü")["Body"].read() == body
    source = {"Bucket": "b-one", "Key": "dir/hello"}
    copy = {"Bucket": "b-one", "Key": "copy ü", "CopySource": source, "CopySourceIfMatch": '"x"'}
    assert code_of(s3.copy_object, **copy) == "PreconditionFailed"
    assert code_of(s3.delete_object, Bucket="b-one", Key="dir/hello", IfMatch='"x"') == "PreconditionFailed"
    for extra in ({"Tagging": "a=b"}, {"ACL": "public-read"}, {"ServerSideEncryption": "aws:kms"}):
        assert code_of(s3.put_object, Bucket="b-one", Key="dir/hello", Body=b"", **extra) == "NotImplemented"
    s3.put_object(Bucket="b-one", Key="private", Body=b"", ACL="private", StorageClass="STANDARD")
    assert code_of(s3.get_object, Bucket="b-one", Key="nothing") == "NoSuchKey"
    assert code_of(s3.get_object, Bucket="b-two", Key="nothing") == "NoSuchBucket"
    assert code_of(s3.get_object_acl, Bucket="b-one", Key="dir/hello") == "NotImplemented"
    assert code_of(s3.delete_object_tagging, Bucket="b-one", Key="dir/hello") == "NotImplemented"
    assert s3.head_object(Bucket="b-one", Key="dir/hello")["ContentLength"] == len(body)
    s3.put_object(Bucket="b-one", Key="empty", Body=b"")
    assert s3.get_object(Bucket="b-one", Key="empty")["Body"].read() == b""
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket="b-one", Key="sum", Body=body, ChecksumAlgorithm=algorithm)
        s3.put_object(Bucket="b-one", Key="sum", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
    wrong = {"Bucket": "b-one", "Key": "sum", "Body": b"x", "ChecksumSHA256": "A" * 43 + "="}
    assert code_of(s3.put_object, **wrong) == "BadDigest"
    assert s3.get_object(Bucket="b-one", Key="sum")["Body"].read() == body


def listings(s3):
    keys = ["a/1", "a/2", "b", "ü/ö", "emoji-\U0001f600", "sp ace+plus&amp;", "per%cent", "quote'\"<x>", "z//", "a/../b"]
    for key in keys:
        s3.put_object(Bucket="b-list", Key=key, Body=key.encode())
    for key in keys:
        assert s3.get_object(Bucket="b-list", Key=key)["Body"].read() == key.encode(), key
    in_order = sorted(keys, key=lambda key: key.encode())
    for operation in ("list_objects", "list_objects_v2"):
        for size in (1, 3, 1000):
            pages = s3.get_paginator(operation).paginate(Bucket="b-list", PaginationConfig={"PageSize": size})
            assert [o["Key"] for page in pages for o in page.get("Contents", [])] == in_order
        pages = list(
            s3.get_paginator(operation).paginate(Bucket="b-list", Delimiter="/", PaginationConfig={"PageSize": 2})
        )
        groups = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
        assert groups == ["a/", "z/", "ü/"], groups
    only = s3.list_objects_v2(Bucket="b-list", Prefix="a/", StartAfter="a/1")
    assert [o["Key"] for o in only["Contents"]] == ["a/2"]
    result = s3.delete_objects(Bucket="b-list", Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(d["Key"] for d in result["Deleted"]) == sorted(keys)
    assert s3.list_objects_v2(Bucket="b-list")["KeyCount"] == 0
    s3.delete_bucket(Bucket="b-list")
    assert code_of(s3.head_bucket, Bucket="b-list") == "404"


def multipart(s3):
    data = os.urandom(12 * 1024 * 1024)
    config = TransferConfig(multipart_threshold=5 * 1024 * 1024, multipart_chunksize=5 * 1024 * 1024)
    s3.upload_fileobj(io.BytesIO(data), "b-one", "big", Config=config)
    target = io.BytesIO()
    s3.download_fileobj("b-one", "big", target, Config=config)
    assert target.getvalue() == data
    assert s3.head_object(Bucket="b-one", Key="big")["ETag"].endswith('-3"')
    whole = {"Bucket": "b-one", "Key": "summed"}
    checksum = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    upload = s3.create_multipart_upload(**whole, **checksum)["UploadId"]
    part = s3.upload_part(**whole, UploadId=upload, PartNumber=1, Body=data, ChecksumAlgorithm="CRC32")
    done = {**whole, "UploadId": upload, "ChecksumType": "FULL_OBJECT"}
    done["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert code_of(s3.complete_multipart_upload, **done, ChecksumCRC32="AAAAAA==") == "BadDigest"
    crc = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    first = s3.complete_multipart_upload(**done, ChecksumCRC32=crc)
    assert s3.complete_multipart_upload(**done, ChecksumCRC32=crc)["ETag"] == first["ETag"]
    upload = s3.create_multipart_upload(Bucket="b-one", Key="never")["UploadId"]
    s3.upload_part(Bucket="b-one", Key="never", UploadId=upload, PartNumber=1, Body=b"x")
    assert len(s3.list_parts(Bucket="b-one", Key="never", UploadId=upload)["Parts"]) == 1
    assert s3.list_multipart_uploads(Bucket="b-one")["Uploads"][0]["Key"] == "never"
    bad = {"Parts": [{"PartNumber": 1, "ETag": '"%032d"' % 0}]}
    arguments = {"Bucket": "b-one", "Key": "never", "UploadId": upload}
    assert code_of(s3.complete_multipart_upload, MultipartUpload=bad, **arguments) == "InvalidPart"
    s3.abort_multipart_upload(**arguments)
    assert code_of(s3.list_parts, **arguments) == "NoSuchUpload"
    assert code_of(s3.head_object, Bucket="b-one", Key="never") == "404"


def signatures(s3):
    assert code_of(client(secret="wrong").list_buckets) == "SignatureDoesNotMatch"
    assert code_of(client(access="wrong").list_buckets) == "InvalidAccessKeyId"
    url = s3.generate_presigned_url("get_object", {"Bucket": "b-one", "Key": "copy ü"}, ExpiresIn=60)
    status, body = fetch(url)
    assert status == 200 and body.startswith(b"hello ")
    assert fetch(url.replace("copy", "empty"))[0] == 403
    assert fetch(url.replace("Expires=60", "Expires=6000"))[0] == 403
    assert fetch(url, method="DELETE")[0] == 403
    put = s3.generate_presigned_url("put_object", {"Bucket": "b-one", "Key": "via-url"}, ExpiresIn=60)
    assert fetch(put, data=b"data", method="PUT")[0] == 200
    assert s3.get_object(Bucket="b-one", Key="via-url")["Body"].read() == b"data"
    assert fetch(ENDPOINT + "/b-one/via-url")[0] == 403
    # These send all of a body before they read why it was refused.
    large = b"x" * (20 << 20)
    assert fetch(ENDPOINT + "/b-one/via-url", data=large, method="PUT")[0] == 403
    connection = http.client.HTTPConnection(ENDPOINT.removeprefix("http://"))
    for length in (len(large), 4):
        connection.request("PUT", "/b-one/via-url", body=large[:length])
        answer = connection.getresponse()
        assert answer.status == 403 and b"AccessDenied" in answer.read()


for style in ({}, {"signature_version": "s3v4"}, {"request_checksum_calculation": "when_required"}):
    s3 = client(**style)
    for bucket in ("b-one", "b-list"):
        if code_of(s3.head_bucket, Bucket=bucket) == "404":
            s3.create_bucket(Bucket=bucket)
    objects(s3)
    listings(s3)
    multipart(s3)
    signatures(s3 if "signature_version" in style else client(signature_version="s3v4"))
print("all done")
