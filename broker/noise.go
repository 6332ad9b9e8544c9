package broker

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// noise is the broker's log. What strangers can cause is thinned out: the first few of a kind in ten seconds are written,
// the counters have them all.
type noise struct{ log *zap.Logger }

func newNoise(log *zap.Logger) noise {
	return noise{log.WithOptions(zap.AddCallerSkip(1), zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, 10*time.Second, 10, 0)
	}))}
}

func (n noise) debug(msg string, f ...zap.Field) { n.log.Debug(msg, f...) }
func (n noise) info(msg string, f ...zap.Field)  { n.log.Info(msg, f...) }
func (n noise) warn(msg string, f ...zap.Field)  { n.log.Warn(msg, f...) }
func (n noise) error(msg string, f ...zap.Field) { n.log.Error(msg, f...) }

func (n noise) connected(l *link) {
	n.info("client connected", zap.String("client", l.sess.id), zap.String("user", l.sess.user), zap.String("remote", l.remote),
		zap.String("listener", l.listener.cfg.Name), zap.Uint8("protocol", l.protocol))
}

// refused logs a topic that a client may not use.
func (n noise) refused(l *link, topic string, r reason, detail string) {
	n.warn("refused", zap.String("client", l.sess.id), zap.String("user", l.sess.user), zap.String("topic", printable(topic)),
		zap.Stringer("reason", r), zap.String("detail", printable(detail)))
}
