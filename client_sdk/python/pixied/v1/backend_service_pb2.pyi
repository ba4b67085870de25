from pixied.v1 import attach_pb2 as _attach_pb2
from pixied.v1 import operations_pb2 as _operations_pb2
from pixied.v1 import pipeline_pb2 as _pipeline_pb2
from pixied.v1 import watch_pb2 as _watch_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
