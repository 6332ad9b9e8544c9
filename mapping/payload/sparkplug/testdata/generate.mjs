// Writes the fixtures of the Sparkplug B tests. See README.md.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const { encodePayload } = require("sparkplug-payload").get("spBv1.0");
const proto = require("sparkplug-payload/lib/sparkplugPayloadProto.js").org.eclipse.tahu.protobuf.Payload;
const Long = require("long");

const t0 = 1772366400000; // 2026-03-01T12:00:00Z
const write = (name, payload) => writeFileSync(new URL(name + ".bin", import.meta.url), encodePayload(payload));

write("nbirth", {
  timestamp: t0, seq: 0, metrics: [
    { name: "bdSeq", type: "Int64", value: 7, timestamp: t0 },
    { name: "Node Control/Rebirth", type: "Boolean", value: false, timestamp: t0, alias: 1 },
    { name: "int8", type: "Int8", value: -23, alias: 10, timestamp: t0 + 1 },
    { name: "int16", type: "Int16", value: -30000, alias: 11, timestamp: t0 + 1 },
    { name: "int32", type: "Int32", value: -1, alias: 12, timestamp: t0 + 1 },
    { name: "int64", type: "Int64", value: Long.fromString("-4270929666821191986"), alias: 13 },
    { name: "uint8", type: "UInt8", value: 250, alias: 14 },
    { name: "uint16", type: "UInt16", value: 52360, alias: 15 },
    { name: "uint32", type: "UInt32", value: 3293969225, alias: 16 },
    { name: "uint64", type: "UInt64", value: Long.fromString("16444743074749521625", true), alias: 17 },
    { name: "float", type: "Float", value: 20.6, alias: 18, properties: {
      engUnit: { type: "String", value: "Cel" }, Quality: { type: "Int32", value: 192 },
      Limits: { type: "PropertySet", value: { high: { type: "Double", value: 80.5 }, low: { type: "Int32", value: -5 }, none: { type: "String", value: null } } },
      History: { type: "PropertySetList", value: [{ a: { type: "Boolean", value: true } }, { a: { type: "Boolean", value: false } }] },
    } },
    { name: "double", type: "Double", value: 1022.9123213, alias: 19 },
    { name: "boolean", type: "Boolean", value: true, alias: 20 },
    { name: "string", type: "String", value: "größer", alias: 21 },
    { name: "datetime", type: "DateTime", value: 1256102875335, alias: 22 },
    { name: "text", type: "Text", value: "a long text", alias: 23 },
    { name: "uuid", type: "UUID", value: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", alias: 24 },
    { name: "bytes", type: "Bytes", value: new Uint8Array([0, 1, 254, 255]), alias: 25 },
    { name: "file", type: "File", value: new Uint8Array([1, 2, 3]), alias: 26, metadata: { fileName: "a.bin", fileType: "bin", size: 3, md5: "5289df737df57326fcdd22597afb1fac", contentType: "application/octet-stream", seq: 0, isMultiPart: false, description: "three bytes" } },
    { name: "null", type: "Int32", value: null, alias: 27 },
    { name: "dataset", type: "DataSet", alias: 28, value: {
      numOfColumns: 5, columns: ["n", "d", "f", "s", "b"], types: ["Int32", "Double", "Float", "String", "Boolean"],
      rows: [[1, 1.5, 0.1, "one", true], [-2, -2.5, 20.6, "two", false]] } },
    { name: "_types_/Motor", type: "Template", value: { isDefinition: true, version: "1.0",
      metrics: [{ name: "rpm", type: "Int32", value: 0 }, { name: "amps", type: "Float", value: 0 }],
      parameters: [{ name: "serial", type: "String", value: "" }] } },
    { name: "motor1", type: "Template", alias: 29, value: { isDefinition: false, templateRef: "Motor", version: "1.0",
      metrics: [{ name: "rpm", type: "Int32", value: -1450 }, { name: "amps", type: "Float", value: 3.2 }, { name: "rotor", type: "Template", value: { isDefinition: false, templateRef: "Rotor", metrics: [{ name: "temp", type: "Double", value: 60.25 }] } }],
      parameters: [{ name: "serial", type: "String", value: "A-17" }, { name: "poles", type: "UInt32", value: 4 }] } },
  ],
});
write("dbirth", { timestamp: t0 + 10, seq: 1, metrics: [
  { name: "Device Control/Rebirth", type: "Boolean", value: false, alias: 100 },
  { name: "temperature", type: "Float", value: 21.5, alias: 101 },
  { name: "offset", type: "Int16", value: -4, alias: 102 },
  { name: "open", type: "Boolean", value: false, alias: 103 },
] });
write("ddata", { timestamp: t0 + 1000, seq: 2, metrics: [
  { alias: 101, type: "Float", value: 22.75, timestamp: t0 + 900 },
  { name: "open", type: "Boolean", value: true, timestamp: t0 + 950 },
] });
write("ndata", { timestamp: t0 + 2000, seq: 3, metrics: [
  { alias: 12, type: "Int32", value: -12345, timestamp: t0 + 1900 },
  { alias: 18, type: "Float", value: null, timestamp: t0 + 1950 },
  { alias: 19, type: "Double", value: 99.5, timestamp: t0 - 3600000, isHistorical: true },
  { alias: 21, type: "String", value: "now", isTransient: true },
] });
// What the specification asks of DATA: no datatype. The encoder above always writes one, the generated code need not.
const raw = (name, payload) => writeFileSync(new URL(name + ".bin", import.meta.url), proto.encode(proto.create(payload)).finish());
raw("ddata_untyped", { timestamp: t0 + 3000, seq: 4, metrics: [
  { alias: 102, intValue: 0xfff6 }, { alias: 102, intValue: 0xfffffff6 }, { name: "temperature", floatValue: 23.25 }, { alias: 999, intValue: 1 },
] });
const bytes = (...b) => new Uint8Array(b);
// The examples of array values in the specification.
raw("arrays", { timestamp: t0, seq: 0, metrics: [
  { name: "int8", datatype: 22, bytesValue: bytes(0xe9, 0x7b) },
  { name: "int16", datatype: 23, bytesValue: bytes(0xd0, 0x8a, 0x30, 0x75) },
  { name: "int32", datatype: 24, bytesValue: bytes(0xff, 0xff, 0xff, 0xff, 0xfa, 0xaf, 0xcb, 0x12) },
  { name: "int64", datatype: 25, bytesValue: bytes(0xce, 0x06, 0x72, 0xac, 0x18, 0x9c, 0xba, 0xc4, 0xc4, 0xba, 0x9c, 0x18, 0xac, 0x72, 0x06, 0xce) },
  { name: "uint8", datatype: 26, bytesValue: bytes(0x17, 0xfa) },
  { name: "uint16", datatype: 27, bytesValue: bytes(0x1e, 0x00, 0x88, 0xcc) },
  { name: "uint32", datatype: 28, bytesValue: bytes(0x34, 0, 0, 0, 0x49, 0xfb, 0x55, 0xc4) },
  { name: "uint64", datatype: 29, bytesValue: bytes(0x34, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) },
  { name: "float", datatype: 30, bytesValue: bytes(0xa4, 0x70, 0x9d, 0x3f, 0x98, 0xae, 0xb2, 0x42) },
  { name: "double", datatype: 31, bytesValue: bytes(0, 0, 0, 0, 0, 0, 0xf8, 0x3f) },
  { name: "boolean", datatype: 32, bytesValue: bytes(0x0c, 0, 0, 0, 0x34, 0xd0) },
  { name: "string", datatype: 33, bytesValue: bytes(0x41, 0x42, 0x43, 0, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0) },
  { name: "datetime", datatype: 34, bytesValue: bytes(0xc7, 0xd0, 0x90, 0x75, 0x24, 0x01, 0, 0, 0xb8, 0xba, 0xb8, 0x97, 0x81, 0x01, 0, 0) },
] });
write("ddeath", { timestamp: t0 + 4000, seq: 5 });
write("ndeath", { timestamp: t0 - 5000, metrics: [{ name: "bdSeq", type: "Int64", value: 7 }] });
write("ncmd_rebirth", { timestamp: t0, metrics: [{ name: "Node Control/Rebirth", type: "Boolean", value: true }] });
write("dcmd", { timestamp: t0, metrics: [
  { name: "open", type: "Boolean", value: false }, { name: "offset", type: "Int16", value: -40 }, { name: "level", type: "UInt32", value: 4000000000 },
  { name: "setpoint", type: "Float", value: 19.5 }, { name: "ratio", type: "Double", value: 0.1 }, { name: "label", type: "String", value: "Ofen" },
  { name: "big", type: "Int64", value: Long.fromString("-9223372036854775807") }, { name: "at", type: "DateTime", value: t0 }, { name: "blob", type: "Bytes", value: bytes(0, 255) },
] });
