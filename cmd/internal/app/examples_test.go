package app_test

import (
	"path/filepath"
	"testing"

	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// TestShippedExamplesCompile takes every example as far as a gateway takes its
// configuration before it opens anything.
func TestShippedExamplesCompile(t *testing.T) {
	t.Parallel()
	const dir = "../../../configs"
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	compiled := 0
	for _, f := range files {
		if filepath.Base(f) == "compose.yaml" {
			continue // it is Docker's
		}
		cfg, err := configs.Load(f, []string{"CREDENTIALS_DIRECTORY=" + t.TempDir(), "HOME=" + t.TempDir()}, nil)
		if err == nil {
			// Folders of a site are there on the site.
			cfg.Mapping.TemplatesDir, cfg.Mapping.DefaultTemplate = "", ""
			var warnings []configs.Fault
			warnings, err = app.Compile(cfg)
			for _, w := range warnings {
				t.Errorf("warning: %s", w)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		compiled++
	}
	if compiled < 4 {
		t.Errorf("%d examples compiled, want at least 4", compiled)
	}
}
