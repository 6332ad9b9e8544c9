package configs_test

import (
	"testing"

	"iotc-gateway/configs"
)

func TestProfileChangesDefaultsOnly(t *testing.T) {
	t.Parallel()
	env := []string{"HOME=/home/x"}
	text := "gateway: {profile: small}\nbroker: {limits: {max_clients: 2000}}\nbridge: {concurrency: 4}\n"
	cfg, err := configs.Parse("gateway.yaml", []byte(text), env, map[string]string{"buffer.memory_bytes": "8MiB"})
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"a default of the profile":    cfg.Broker.Limits.MaxRetained == 2000 && cfg.Buffer.MaxBytes == 256<<20,
		"the same value as elsewhere": cfg.Broker.Limits.MaxClients == 2000,
		"a value of the file":         cfg.Bridge.Concurrency == 4,
		"an override":                 cfg.Buffer.MemoryBytes == 8<<20,
		"the runtime":                 cfg.Runtime() == configs.Runtime{MemoryLimit: 96 << 20, GCPercent: 50},
	} {
		if !ok {
			t.Errorf("%s does not hold: %+v", what, cfg)
		}
	}
	cfg, err = configs.Parse("", nil, append(env, "IOTC_GATEWAY_PROFILE=small"), nil)
	if err != nil || cfg.Broker.Limits.MaxClients != 300 {
		t.Errorf("from the environment: %v", err)
	}
	cfg, err = configs.Parse("", nil, env, nil)
	if err != nil || cfg.Broker.Limits.MaxClients != 2000 || cfg.Runtime() != (configs.Runtime{}) {
		t.Errorf("without a profile: %v", err)
	}
	if _, err := configs.Parse("", nil, env, map[string]string{"gateway.profile": "tiny"}); err == nil {
		t.Error("an unknown profile is taken")
	}
}
