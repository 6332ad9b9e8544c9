package central

import (
	_ "embed"
	"net/http"
	"strconv"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of the API (OpenAPI 3.1, YAML).
func OpenAPI() []byte { return append([]byte(nil), openAPI...) }

func serveOpenAPI(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/yaml; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(openAPI)))
	header.Set("X-Content-Type-Options", "nosniff")
	// A caller that is gone needs no answer.
	_, _ = w.Write(openAPI)
}
