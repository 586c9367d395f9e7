'use strict';
// A value or more of every type, as the driver's users write them.
const { types } = require('cassandra-driver');

const { BigDecimal, Duration, InetAddress, Integer, LocalDate, LocalTime, Long, TimeUuid, Tuple, Uuid, Vector } = types;
const timeuuid = TimeUuid.fromString('50554d6e-29bb-11e5-b345-feff819cdc9f');

const scalars = {
  ascii: ['', 'plain ~'],
  bigint: [Long.MIN_VALUE, Long.fromInt(0), Long.MAX_VALUE],
  blob: [Buffer.alloc(0), Buffer.from([0, 255, 1])],
  boolean: [true, false],
  date: [LocalDate.fromString('1970-01-01'), LocalDate.fromString('1969-12-31'), LocalDate.fromString('2013-07-04'), new LocalDate(-2147483648)],
  decimal: ['0', '-1.2300', '123456789012345678901234567890.12345678901234567890'].map(BigDecimal.fromString),
  double: [0, -1.5e300, Infinity, -Infinity, NaN, 5e-324],
  duration: ['0s', '1mo2d3ns', '-1mo2d3ns'].map((s) => Duration.fromString(s)),
  float: [0, -1.5, Infinity, NaN],
  inet: ['127.0.0.1', '2001:db8::1'].map((s) => InetAddress.fromString(s)),
  int: [-2147483648, 0, 2147483647],
  smallint: [-32768, 0, 32767],
  text: ['', 'grüße 世界 🜁', "'quoted' $$ \0"],
  time: ['00:00:00', '23:59:59.999999999', '12:34:56.789'].map((s) => LocalTime.fromString(s)),
  timestamp: [new Date(Date.UTC(2013, 6, 4, 12, 34, 56, 789)), new Date(-1), new Date(8.64e15)],
  timeuuid: [timeuuid],
  tinyint: [-128, 0, 127],
  uuid: [Uuid.fromString('00000000-0000-0000-0000-000000000000'), Uuid.fromString('ffffffff-ffff-ffff-ffff-ffffffffffff')],
  varchar: ['v'],
  varint: ['0', '-1', '127', '128', '-18446744073709551616', '1' + '0'.repeat(60)].map((s) => Integer.fromString(s)),
};

const composites = {
  'list<int>': [[1, 2, 1]],
  'set<text>': [['', 'a', 'b']],
  'map<text, double>': [{ '': Infinity, a: 1 }],
  'map<timeuuid, frozen<set<inet>>>': [{ [timeuuid]: ['::1', '10.0.0.1'].map((s) => InetAddress.fromString(s)) }],
  'frozen<list<frozen<map<text, text>>>>': [[{ a: '1', b: '' }, {}]],
  'tuple<int, text, frozen<list<varint>>>': [new Tuple(1, 'a', [Integer.fromString('1' + '0'.repeat(30))])],
  'vector<float, 3>': [new Vector([1, -2.5, 0], 'float')],
  'vector<text, 2>': [new Vector(['a', ''], 'text')],
  'frozen<address>': [{ street: 'Main', numbers: [1, 2], at: new Tuple(1.5, -2.5) }],
  address: [{ street: 'Main', numbers: [1, 2], at: new Tuple(1.5, -2.5) }],
  'map<text, frozen<address>>': [{ home: { street: null, numbers: null, at: null } }],
};

// plain is a value in a form that can be compared.
function plain(v) {
  if (v === null || v === undefined) return null;
  if (v instanceof Tuple) return v.values().map(plain);
  if (v instanceof Vector) return v.elements.map(plain);
  if (Buffer.isBuffer(v)) return v.toString('hex');
  if (v instanceof Date) return v.getTime();
  if (Array.isArray(v)) return v.map(plain);
  if (v.constructor === Object) return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, plain(e)]));
  return typeof v === 'number' ? (Object.is(v, NaN) ? 'NaN' : v) : String(v);
}

module.exports = { scalars, composites, plain };
