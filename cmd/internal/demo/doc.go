// Package demo shows the gateway's main job on one machine, in one process:
// an emulated IoT Central application, the gateway with its broker, queue and
// uplink, and some sensors that publish over real MQTT connections. In the
// middle the uplink is cut for a while. At the end it proves from the
// application's own account that what was acknowledged to the sensors arrived:
// all of it, once, in order.
package demo
