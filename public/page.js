// Keeps the page up to date while somebody looks at it. Without it everything works, after a reload.
(() => {
  'use strict';
  const BUSY = 5000; // while a run goes on, in milliseconds
  const QUIET = 60000;
  const news = document.getElementById('news');
  let timer = 0;
  let seenAt = Date.now();

  const main = () => document.querySelector('main');
  const wait = () => (main().dataset.busy ? BUSY : QUIET);

  // Somebody who is filling in a form, or selects a name to copy it, is not disturbed.
  const isInUse = () =>
    main().querySelector('form :focus') !== null ||
    !document.getSelection().isCollapsed ||
    [...main().querySelectorAll('input:not([type=hidden])')].some(
      (input) => input.checked !== input.defaultChecked || input.value !== input.defaultValue,
    );

  const show = (text) => {
    const page = new DOMParser().parseFromString(text, 'text/html');
    const fresh = page.querySelector('main');
    if (!fresh || isInUse()) return;
    // What is open stays open.
    const folds = [...fresh.querySelectorAll('details')];
    for (const fold of main().querySelectorAll('details[id], details[open]')) {
      const isSame = (other) => (fold.id ? other.id === fold.id : other.textContent === fold.textContent);
      const same = folds.find(isSame);
      if (same) same.open = fold.open;
    }
    const focused = document.activeElement && document.activeElement.id;
    const hasChanged = fresh.dataset.state !== main().dataset.state;
    main().replaceWith(document.adoptNode(fresh));
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
    const headline = main().querySelector('h1');
    if (hasChanged && headline) {
      document.title = page.title;
      if (news) news.textContent = headline.textContent;
    }
  };

  const look = async () => {
    seenAt = Date.now();
    try {
      const answer = await fetch(location.href, { cache: 'no-store' });
      if (answer.ok) show(await answer.text());
    } catch {
      // The server is away for a moment; the page stays as it is.
    }
    plan();
  };

  const plan = () => {
    clearTimeout(timer);
    if (document.visibilityState === 'visible') {
      timer = setTimeout(look, Math.max(0, seenAt + wait() - Date.now()));
    }
  };

  document.addEventListener('visibilitychange', plan);
  plan();
})();
