"use strict";
const form = document.getElementById("filter");
const cards = [...document.querySelectorAll(".card")].map(card => ({ card, text: card.textContent.toLowerCase() }));
form.hidden = cards.length === 0;

function show() {
  const wanted = Object.fromEntries(new FormData(form));
  const text = wanted.text.trim().toLowerCase();
  let seen = 0;
  for (const one of cards) {
    const { verdict, level, apis } = one.card.dataset;
    one.card.hidden = !((!wanted.verdict || verdict === wanted.verdict) && (!wanted.level || level === wanted.level)
      && (!wanted.api || apis.split(" ").includes(wanted.api)) && one.text.includes(text));
    seen += !one.card.hidden;
  }
  document.getElementById("seen").value = `${seen} of ${cards.length}`;
  document.getElementById("none").hidden = seen > 0 || cards.length === 0;
  history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(wanted).filter(([, held]) => held)));
}

for (const [name, held] of new URLSearchParams(location.hash.slice(1)))
  if (form.elements[name]) form.elements[name].value = held;
for (const button of document.querySelectorAll(".counts button"))
  button.onclick = () => {
    form.elements.verdict.value = form.elements.verdict.value === button.dataset.verdict ? "" : button.dataset.verdict;
    show();
  };
form.oninput = show;
form.onsubmit = event => event.preventDefault();
show();
