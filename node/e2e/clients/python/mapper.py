"""The driver's object mapper, cqlengine."""
import datetime
import uuid

from cassandra.cqlengine import columns, connection, management
from cassandra.cqlengine.models import Model
from cassandra.cqlengine.query import BatchQuery, BatchType
from cassandra.cqlengine.usertype import UserType

from checks import equal


class Gate(UserType):
    terminal = columns.Text()
    number = columns.Integer()


class Flight(Model):
    __keyspace__ = "mapped"
    __table_name__ = "flights"
    origin = columns.Text(partition_key=True)
    day = columns.Date(partition_key=True)
    number = columns.Integer(primary_key=True, clustering_order="DESC")
    airline = columns.Text(static=True)
    seats = columns.Set(columns.Text)
    stops = columns.List(columns.Text)
    notes = columns.Map(columns.Text, columns.Text)
    gate = columns.UserDefinedType(Gate)
    delay = columns.Decimal()
    id = columns.UUID(default=uuid.uuid4)


def check(session):
    connection.register_connection("nodedb", session=session, default=True)
    management.create_keyspace_simple("mapped", 3)
    management.sync_type("mapped", Gate)
    management.sync_table(Flight)
    management.sync_table(Flight)  # nothing to change
    day = datetime.date(2013, 7, 4)
    first = Flight.create(origin="JFK", day=day, number=1, airline="UA", seats={"1A", "1B"}, stops=["ORD"], notes={"meal": "yes"}, gate=Gate(terminal="B", number=7), delay="1.5")
    with BatchQuery(batch_type=BatchType.Unlogged) as b:
        for n in range(2, 6):
            Flight.batch(b).create(origin="JFK", day=day, number=n)
    rows = list(Flight.objects(origin="JFK", day=day))
    equal([f.number for f in rows], [5, 4, 3, 2, 1])
    got = rows[-1]
    equal((got.airline, got.seats, got.stops, got.notes, got.gate.number, str(got.delay), got.id), ("UA", {"1A", "1B"}, ["ORD"], {"meal": "yes"}, 7, "1.5", first.id))
    got.seats.add("2A")
    got.stops.append("DEN")
    got.notes["bag"] = "two"
    got.save()
    Flight.objects(origin="JFK", day=day, number=1).update(seats__remove={"1B"}, stops__prepend=["BOS"], notes__update={"meal": "no"})
    got = Flight.get(origin="JFK", day=day, number=1)
    equal((got.seats, got.stops, got.notes), ({"1A", "2A"}, ["BOS", "ORD", "DEN"], {"meal": "no", "bag": "two"}))
    equal([f.number for f in Flight.objects(origin="JFK", day=day, number__gte=3).order_by("number").limit(2)], [3, 4])
    equal(Flight.objects(origin="JFK", day=day).count(), 5)
    got.delete()
    equal(Flight.objects(origin="JFK", day=day, number__in=[1, 2]).count(), 1)
    Flight.objects(origin="JFK", day=day).timestamp(datetime.timedelta(seconds=5)).delete()
    management.drop_table(Flight)
    management.drop_keyspace("mapped")
