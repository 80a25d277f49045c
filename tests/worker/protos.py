"""The messages between the Functions host and its Python worker, as plain classes.

Only the messages and fields that the worker package uses. Like the generated classes, they refuse unknown fields and
values of the wrong type. https://github.com/Azure/azure-functions-language-worker-protobuf
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


class _OneOf:
    """A message that holds one of its fields at most."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 - protobuf's name
        return next((f.name for f in fields(self) if getattr(self, f.name) is not None), None)  # type: ignore[arg-type]


def _check(message: object, **kinds: type) -> None:
    for name, kind in kinds.items():
        value = getattr(message, name)
        values = [*value, *value.values()] if isinstance(value, dict) else [value]
        for item in values:
            if item is not None and (not isinstance(item, kind) or isinstance(item, bool)):
                raise TypeError(f"{type(message).__name__}.{name} must be {kind.__name__}, not {type(item).__name__}")


@dataclass
class RpcHttp:
    """An HTTP request, or an HTTP response with its status as text."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: TypedData | None = None
    params: dict[str, str] = field(default_factory=dict)
    status_code: str = ""
    query: dict[str, str] = field(default_factory=dict)
    enable_content_negotiation: bool = False
    cookies: list[Any] | None = None

    def __post_init__(self) -> None:
        self.body = self.body or TypedData()
        _check(self, method=str, url=str, headers=str, body=TypedData, params=str, status_code=str, query=str)


@dataclass
class TypedData(_OneOf):
    string: str | None = None
    json: str | None = None
    bytes: bytes | None = None
    http: RpcHttp | None = None
    int: int | None = None
    double: float | None = None

    def __post_init__(self) -> None:
        _check(self, string=_STR, json=_STR, bytes=_BYTES, http=RpcHttp, int=_INT, double=_FLOAT)
        if sum(getattr(self, f.name) is not None for f in fields(self)) > 1:
            raise TypeError("TypedData holds one value")


_STR, _BYTES, _INT, _FLOAT = str, bytes, int, float  # TypedData's fields hide the names


@dataclass
class ParameterBinding:
    name: str
    data: TypedData | None = None

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 - protobuf's name
        return "data" if self.data is not None else None

    def __post_init__(self) -> None:
        _check(self, name=str, data=TypedData)


@dataclass
class RpcException:
    message: str = ""
    stack_trace: str = ""
    source: str = ""


@dataclass
class StatusResult:
    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int
    exception: RpcException | None = None


@dataclass
class RpcTraceContext:
    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class RetryContext:
    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException = field(default_factory=RpcException)


@dataclass
class WorkerInitRequest:
    function_app_directory: str
    capabilities: dict[str, str] = field(default_factory=dict)


@dataclass
class WorkerMetadata:
    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: dict[str, str]


@dataclass
class WorkerInitResponse:
    capabilities: dict[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


@dataclass
class BindingInfo:
    undefined: ClassVar[int] = 0
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2

    type: str
    data_type: Any
    direction: int


@dataclass
class RpcFunctionMetadata:
    name: str
    function_id: str
    managed_dependency_enabled: bool
    directory: str
    script_file: str
    entry_point: str
    is_proxy: bool
    language: str
    bindings: dict[str, BindingInfo]
    raw_bindings: list[str]
    retry_options: object | None
    properties: dict[str, str]


@dataclass
class FunctionMetadataResponse:
    use_default_metadata_indexing: bool
    function_metadata_results: list[RpcFunctionMetadata] | None
    result: StatusResult


@dataclass
class FunctionLoadRequest:
    function_id: str


@dataclass
class FunctionLoadResponse:
    function_id: str
    result: StatusResult


@dataclass
class InvocationRequest:
    invocation_id: str
    function_id: str
    input_data: list[ParameterBinding]
    trigger_metadata: dict[str, TypedData] = field(default_factory=dict)
    trace_context: RpcTraceContext = field(default_factory=RpcTraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)


@dataclass
class InvocationResponse:
    invocation_id: str
    result: StatusResult
    output_data: list[ParameterBinding] = field(default_factory=list)
    return_value: TypedData | None = None

    def __post_init__(self) -> None:
        for item in self.output_data:
            _check(ParameterBinding(item.name), name=str)
        _check(self, return_value=TypedData)
