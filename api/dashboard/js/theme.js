// Colours before the first paint: a plain script, so that a dark page never flashes white.
(() => {
  const chosen = (() => { try { return localStorage.getItem("aegis.theme"); } catch { return null; } })();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
