// The theme is set before anything is drawn: auto follows the system.
(function () {
  const key = 'iotc-theme';
  let saved = null;
  try { saved = localStorage.getItem(key); } catch { /* storage may be forbidden */ }
  if (saved === 'light' || saved === 'dark') document.documentElement.dataset.theme = saved;
  window.iotcTheme = {
    current: () => document.documentElement.dataset.theme || 'auto',
    set(theme) {
      if (theme === 'auto') delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      try { localStorage.setItem(key, theme); } catch { /* it holds until the page is closed */ }
      window.dispatchEvent(new Event('themechange'));
    },
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => window.dispatchEvent(new Event('themechange')));
})();
