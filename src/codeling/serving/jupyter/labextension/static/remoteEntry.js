// What JupyterLab loads first: a module federation container without a bundler. It takes what it
// needs from JupyterLab's own copies, since tokens are compared by identity.
(() => {
  const here = document.currentScript.src;
  let scope = {};

  async function shared(name) {
    const versions = Object.values(scope[name] ?? {});
    if (!versions.length) throw new Error(`codeling: this JupyterLab has no ${name}`);
    return (await versions[0].get())();
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB.codeling = {
    init: async (given) => {
      scope = given;
    },
    get: async (name) => {
      if (name !== "./extension") throw new Error(`codeling: there is no module ${name}`);
      const [{ createPlugin }, completer, services, statusbar, widgets] = await Promise.all([
        import(new URL("plugin.js", here).href),
        ...["@jupyterlab/completer", "@jupyterlab/services", "@jupyterlab/statusbar", "@lumino/widgets"].map(shared),
      ]);
      const plugin = createPlugin({ ...completer, ...services, ...statusbar, ...widgets });
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
