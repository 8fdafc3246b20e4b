// Tells a buyer that the browser cannot run the other scripts. Such a browser may be very old, so
// this script keeps to ECMAScript 5.

(function () {
  "use strict";

  // The complete page has a sentence for each outcome. These two promise news, which this browser
  // cannot show. The others do not.
  var INSTEAD = { unknown: "not_found", processing: "still_processing" };

  /** @param {string} name */
  function outcome(name) {
    return document.querySelector('[data-outcome="' + name + '"]');
  }

  function look() {
    // The other script says so itself.
    if (document.documentElement.getAttribute("data-script") === "runs") return;
    var sentence = document.getElementById("old-browser");
    if (sentence) sentence.removeAttribute("hidden");
    var loading = document.getElementById("payment-loading");
    if (loading) loading.setAttribute("hidden", "");
    Object.keys(INSTEAD).forEach(function (name) {
      var promise = outcome(name);
      var other = outcome(INSTEAD[/** @type {keyof typeof INSTEAD} */ (name)]);
      if (!promise || !other || promise.hasAttribute("hidden")) return;
      promise.setAttribute("hidden", "");
      other.removeAttribute("hidden");
    });
  }

  document.addEventListener("DOMContentLoaded", look);
})();
