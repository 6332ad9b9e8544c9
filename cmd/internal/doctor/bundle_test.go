package doctor_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/cmd/internal/doctor"
	"iotc-gateway/configs"
)

// planted are secrets in every place where one can get into an archive.
const (
	plantedToken  = "planted-token-in-its-file"
	plantedHeader = "planted-header-value"
	plantedSAS    = "SharedAccessSignature sr=app&sig=plantedsig%3D&skn=gw&se=1900000000"
	plantedLogin  = "planted-password-of-a-user"
)

func TestBundleHoldsNoSecret(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write("token", plantedToken)
	b.set["central.headers"] = "{X-Key: " + plantedHeader + "}"
	cfg, err := configs.Load("", nil, b.set)
	if err != nil {
		t.Fatal(err)
	}
	b.opts.Config = cfg
	b.opts.Version = "1.2.3"
	b.write("data/.keep", "")
	users, err := broker.OpenUsers(app.UsersFile(cfg.Gateway.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Add(broker.User{Name: "boiler-7", Role: broker.RoleDevice}, []byte(plantedLogin), false); err != nil {
		t.Fatal(err)
	}
	log := `{"level":"warn","msg":"call refused","error":"Authorization: Bearer ` + plantedToken + `"}
{"msg":"old","header":"` + plantedSAS + `"}
{"msg":"proxy http://user:planted-proxy-word@proxy:3128 refused","password":"planted-json-word"}
IOTC_TOKEN=planted-env-word token: planted-yaml-word api_key=planted-key-word
$argon2id$v=19$m=8192,t=3,p=1$plantedsalt$plantedhash
-----BEGIN EC PRIVATE KEY-----
plantedkeymaterial
-----END EC PRIVATE KEY-----
eyJhbGciOiJIUzI1NiJ9.plantedclaims.plantedmac
the token was refused; see central.token_file
`
	result := b.run()
	var out bytes.Buffer
	err = doctor.WriteBundle(t.Context(), &out, doctor.Bundle{
		Options: b.opts, Result: result, Build: map[string]string{"version": "1.2.3"},
		Extra: map[string][]byte{"stats.json": []byte(`{"token":"` + plantedToken + `"}`)},
		Log:   func(context.Context) ([]byte, error) { return []byte(log), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, out.Bytes())
	for _, name := range []string{"report.txt", "report.json", "config.yaml", "version.json", "users.txt", "files.txt", "system.txt", "log.txt", "stats.json"} {
		if _, ok := files[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	for name, text := range files {
		if at := strings.Index(text, "planted"); at >= 0 {
			t.Errorf("%s holds a secret: ...%s", name, text[max(0, at-60):min(len(text), at+60)])
		}
	}
	for name, part := range map[string]string{
		"users.txt": "boiler-7", "config.yaml": "token_file: ", "log.txt": "see central.token_file", "report.txt": "The gateway is stopped",
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s lacks %q: %s", name, part, files[name])
		}
	}
}

func TestBundleWithoutLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Offline = true
	result := b.run()
	var out bytes.Buffer
	err := doctor.WriteBundle(t.Context(), &out, doctor.Bundle{
		Options: b.opts, Result: result,
		Log: func(context.Context) ([]byte, error) { return nil, errors.New("no journal here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := unpack(t, out.Bytes())["log.txt"]; !strings.Contains(text, "no journal here") {
		t.Errorf("log.txt is %q", text)
	}
}

func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[path.Base(h.Name)] = string(text)
	}
}

// FuzzRedactor holds the one promise: a value that it was told does not come
// out, whatever surrounds it.
func FuzzRedactor(f *testing.F) {
	f.Add("Authorization: Bearer ", " and more")
	f.Add(`{"token":"`, `"}`)
	f.Add("http://user:", "@host/")
	f.Add("-----BEGIN PRIVATE KEY-----\n", "\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "zq9-the-secret-zq9"
		var r doctor.Redactor
		r.Add(secret)
		if out := r.Text(before + secret + after); strings.Contains(out, secret) {
			t.Errorf("%q became %q", before+secret+after, out)
		}
	})
}
