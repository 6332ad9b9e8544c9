// Streams of events from the gateway. They rest while nobody looks at the page,
// and come back by themselves after a break.
export function watch(path, handlers) {
  let source = null;
  let stopped = false;

  function open() {
    if (stopped || source || document.hidden) return;
    source = new EventSource(`api/${path}`);
    source.onopen = () => handlers.connected?.(true);
    source.onerror = () => {
      handlers.connected?.(false);
      // A refused stream is closed for good by the browser: ask again later.
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(open, 3000);
      }
    };
    for (const [name, fn] of Object.entries(handlers.events)) {
      source.addEventListener(name, (e) => fn(JSON.parse(e.data)));
    }
    source.addEventListener('ended', () => window.dispatchEvent(new Event('loggedout')));
  }

  function close() {
    source?.close();
    source = null;
  }

  const visibility = () => (document.hidden ? close() : open());
  document.addEventListener('visibilitychange', visibility);
  open();
  return () => {
    stopped = true;
    document.removeEventListener('visibilitychange', visibility);
    close();
  };
}

// every calls fn now and then while the page is looked at.
export function every(ms, fn) {
  const timer = setInterval(() => { if (!document.hidden) fn(); }, ms);
  return () => clearInterval(timer);
}
