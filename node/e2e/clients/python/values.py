"""A value or more of every type, as the driver's users write them."""
import datetime
import decimal
import ipaddress
import uuid

from cassandra.util import Date, Duration, OrderedMapSerializedKey, SortedSet, Time

NAN = float("nan")
MOMENT = datetime.datetime(2013, 7, 4, 12, 34, 56, 789000)
TIMEUUID = uuid.UUID("50554d6e-29bb-11e5-b345-feff819cdc9f")

SCALARS = {
    "ascii": ["", "plain ~"],
    "bigint": [-(1 << 63), 0, (1 << 63) - 1],
    "blob": [b"", b"\x00\xff\x01" * 1000],
    "boolean": [True, False],
    "date": [Date(0), Date(-1), Date(datetime.date(2013, 7, 4)), Date(-(1 << 31))],
    "decimal": [decimal.Decimal(s) for s in ("0", "-1.2300", "123456789012345678901234567890.12345678901234567890", "1E+20", "-1E-40")],
    "double": [0.0, -1.5e300, float("inf"), float("-inf"), NAN, 5e-324],
    "duration": [Duration(0, 0, 0), Duration(1, 2, 3), Duration(-1, -2, -3), Duration(0, 0, (1 << 63) - 1)],
    "float": [0.0, -1.5, float("inf"), NAN],
    "inet": ["127.0.0.1", "2001:db8::1", "::"],
    "int": [-(1 << 31), 0, (1 << 31) - 1],
    "smallint": [-(1 << 15), 0, (1 << 15) - 1],
    "text": ["", "grüße 世界 🜁", "'quoted' $$ \x00"],
    "time": [Time(0), Time(86399999999999), Time("12:34:56.789")],
    "timestamp": [MOMENT, datetime.datetime(1969, 12, 31, 23, 59, 59, 999000), datetime.datetime(1, 1, 1)],
    "timeuuid": [TIMEUUID],
    "tinyint": [-128, 0, 127],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)],
    "varchar": ["v"],
    "varint": [0, -1, 127, 128, -(1 << 64), 10**60],
}

COMPOSITES = {
    "list<int>": [[1, 2, 1]],
    "set<text>": [SortedSet(["b", "a", ""])],
    "map<text, double>": [{"a": 1.0, "": float("inf")}],
    "map<timeuuid, frozen<set<inet>>>": [{TIMEUUID: SortedSet(["::1", "10.0.0.1"])}],
    "frozen<list<frozen<map<int, text>>>>": [[{1: "a", 2: ""}, {}], []],
    "tuple<int, text, frozen<list<varint>>>": [(1, "a", [10**30]), (None, None, None)],
    "vector<float, 3>": [[1.0, -2.5, 0.0]],
    "list<frozen<vector<float, 2>>>": [[[1.0, 2.0], [3.0, 4.0]]],
    "vector<text, 2>": [["a", ""]],
}


def plain(value):
    """A value in a form that can be compared: the driver reads some by other classes than it takes."""
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, (dict, OrderedMapSerializedKey)):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset, SortedSet)):
        return frozenset(plain(v) for v in value)
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    if isinstance(value, decimal.Decimal):
        return value.as_tuple()
    if isinstance(value, str):
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            return value
    return value
