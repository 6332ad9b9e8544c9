package access_test

import (
	"context"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
)

// spyService tells who asks for the application.
type spyService struct {
	central.Service

	see func(access.Principal, bool)
}

func (s spyService) Application(ctx context.Context) (central.Application, error) {
	s.see(access.PrincipalOf(ctx))
	return s.Service.Application(ctx)
}
