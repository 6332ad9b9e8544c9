// Package configs is the gateway's whole configuration: one documented struct
// put together from the sections that the packages own, the defaults, the
// strict loader and the validation, and the example files that ship with it.
//
// # Layers
//
// A value is looked for in four places, the later ones win:
//
//  1. the defaults of [Default];
//  2. one YAML file, and the files of the folder mapping.routes_dir beside it;
//  3. environment variables: IOTC_ followed by the path in capitals with
//     underscores, so central.token_file is IOTC_CENTRAL_TOKEN_FILE. Lists and
//     maps are written as YAML or JSON, for example
//     IOTC_BROKER_LISTENERS='[{name: field, address: ":1883"}]';
//  4. overrides by path, which is what the command line's flags become.
//
// A section or a map is merged key by key, a list replaces the list below it.
//
// # Strictness
//
// A gateway that starts with a misspelt key runs for years with a default that
// nobody wanted. So an unknown key, a key given twice, a value of the wrong
// type, an unknown IOTC_ variable and an impossible value are all refused, with
// file, line, column and path, and all of them at once ([*Error] lists them).
//
// # Values
//
// Durations are written as 250ms, 15s, 1h30m, 30d; sizes as 4096, 64KiB, 2GiB
// or 500MB. Paths that stand in a file are relative to that file; in them, and
// only in them, ${CREDENTIALS_DIRECTORY}, ${STATE_DIRECTORY},
// ${CONFIGURATION_DIRECTORY} and ${RUNTIME_DIRECTORY} are replaced by what
// systemd gave the service. Tokens and passwords are never values here, only the
// names of the files and variables that hold them; what may hide one all the
// same (a proxy's header) is redacted when the configuration is printed.
//
// # Versions
//
// config_version says which edition of the configuration a file was written
// for. Within one edition keys are only ever added. When a key has to change
// its meaning the edition goes up by one, the gateway goes on reading the
// edition before, and refuses a newer one instead of guessing.
package configs
