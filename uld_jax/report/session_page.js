"use strict";
{
  // What drawings and tables do not have: shapes of the selected window, in units of the
  // drawings, and its numbers of each node.
  const recordings = JSON.parse(document.getElementById("numbers").textContent);
  // Playing a whole recording takes this long, within the limits of a step.
  const PLAY_MS = 40000, SHORTEST_STEP_MS = 60, LONGEST_STEP_MS = 500;
  const TRAIL = 30;  // Windows.

  const isNumber = (value) => typeof value === "number";
  const signed = (value, digits) =>
    (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(digits);

  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name, value);
    }
  }

  function show(element, shown) {
    if (shown) element.removeAttribute("display");
    else element.setAttribute("display", "none");
  }

  function showEllipse(element, shape) {
    show(element, shape);
    if (!shape) return;
    const [x, y, longer, shorter, degrees] = shape;
    const transform = `translate(${x} ${y}) rotate(${degrees})`;
    set(element, { rx: longer, ry: shorter, transform });
  }

  // Draw a value as a bar from the middle of its column, which ends at +-limit.
  function showBar(bar, value, limit, error) {
    bar.hidden = !isNumber(value);
    if (bar.hidden) return;
    const share = (one) => 50 + 50 * Math.min(Math.max(one / limit, -1), 1);
    const place = (element, low, high) => {
      element.style.left = `${share(low)}%`;
      element.style.width = `${share(high) - share(low)}%`;
    };
    place(bar.querySelector("i"), Math.min(value, 0), Math.max(value, 0));
    bar.classList.toggle("over", value > limit);
    bar.classList.toggle("under", value < -limit);
    const whisker = bar.querySelector("b");
    if (!whisker) return;
    whisker.hidden = !isNumber(error) || Math.abs(value) > limit;
    if (!whisker.hidden) place(whisker, value - error, value + error);
  }

  function showNodes(rows, numbers, { limits, speed_of_sound: speed }) {
    rows.forEach((row, index) => {
      const of = (name) => (numbers[name] || [])[index];
      const toPath = (ms) => (isNumber(ms) ? (ms * speed) / 1000 : null);
      const late = of("offsets_ms"), error = of("offset_errors_ms");
      const level = of("levels_db"), weight = of("weights");
      const [lateValue, levelValue] = row.querySelectorAll(".value");
      showBar(row.querySelector(".late"), toPath(late), limits.path_m, toPath(error));
      showBar(row.querySelector(".level"), level, limits.level_db);
      const spread = isNumber(error) ? ` \u00b1 ${error.toFixed(2)}` : "";
      lateValue.replaceChildren("unknown");
      if (isNumber(late)) {
        const small = document.createElement("small");
        small.textContent = `${signed(late, 2)}${spread} ms`;
        lateValue.replaceChildren(`${signed(toPath(late), 3)} m `, small);
      }
      const silent = "levels_db" in numbers ? "silent" : "unknown";
      levelValue.textContent = isNumber(level) ? `${signed(level, 1)} dB` : silent;
      row.classList.toggle("left-out", weight === 0);
    });
  }

  function start(section, data) {
    const { windows } = data;
    const find = (selector) => section.querySelector(selector);
    const findAll = (selector) => [...section.querySelectorAll(selector)];
    const slider = find("input[type=range]"), play = find(".play");
    const plan = find(".plan"), times = find(".times"), cursor = find(".cursor");
    const titles = findAll(".windows thead th").map((cell) => cell.textContent);
    const rows = findAll(".windows tbody tr"), nodeRows = findAll(".nodes tbody tr");
    const overlays = findAll(".plan .selected"), markers = findAll(".marker");
    const modes = findAll(".mode"), masses = findAll(".mass");
    const modePoints = findAll(".mode-point");
    const facts = find(".facts"), smooth = find(".plan .smooth");
    const smoothRadius = find(".plan .smooth-radius"), trail = find(".plan .trail");
    let selected = 0, timer = null;

    function select(index) {
      rows[selected].removeAttribute("aria-current");
      selected = index;
      const numbers = windows[index], points = numbers.points || [];
      rows[index].setAttribute("aria-current", "true");

      overlays.forEach((overlay) => {
        show(overlay, points.length);
        overlay.dataset.state = numbers.state;
      });
      markers.forEach((marker, k) => {
        show(marker, points[k]);
        if (points[k]) set(marker, { cx: points[k][0], cy: points[k][1] });
      });
      showEllipse(find(".extent"), numbers.ellipse);
      show(find(".plan .radius"), "radius" in numbers);
      if ("radius" in numbers) {
        const [cx, cy] = points[0];
        set(find(".plan .radius"), { cx, cy, r: numbers.radius });
      }
      modes.forEach((ellipse, k) => {
        const mode = (numbers.modes || [])[k];
        showEllipse(ellipse, mode && mode.ellipse);
        show(masses[k], mode);
        show(modePoints[k], mode);
        if (!mode) return;
        const [x, y] = mode.point;
        masses[k].textContent = mode.mass;
        set(masses[k], { x, y });
        set(modePoints[k], { cx: x, cy: y });
      });
      showTrack(index);
      show(cursor, true);
      cursor.setAttribute("transform", `translate(${numbers.time} 0)`);

      // The table of windows has the words; it and the panel cannot disagree.
      facts.replaceChildren();
      [...rows[index].cells].forEach((cell, k) => {
        if (cell.textContent === "\u2013") return;
        const title = document.createElement("dt");
        const value = document.createElement("dd");
        title.textContent = titles[k];
        value.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
        facts.append(title, value);
      });
      slider.value = index;
      const [time, state, place] = [...rows[index].cells].map((cell) => cell.textContent);
      const words = `${index + 1} of ${windows.length}, ${time}, ${state}, ${place}`;
      slider.setAttribute("aria-valuetext", words);
      find(".count").textContent = `${index + 1} of ${windows.length}`;
      showNodes(nodeRows, numbers, data);
    }

    // The smoothed position, and the track of its talker during the last windows.
    function showTrack(index) {
      const { smooth: place, smooth_radius: radius, talker } = windows[index];
      show(smooth, place);
      show(smoothRadius, place && isNumber(radius));
      show(trail, place);
      if (!place) return;
      const [cx, cy] = place;
      set(smooth, { cx, cy });
      if (isNumber(radius)) set(smoothRadius, { cx, cy, r: radius });
      const places = windows
        .slice(Math.max(index - TRAIL, 0), index + 1)
        .filter((one) => one.smooth && one.talker === talker)
        .map((one) => one.smooth.join(" "));
      set(trail, { d: `M${places.join("L")}` });
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    }

    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      const step = PLAY_MS / windows.length;
      if (selected === windows.length - 1) select(0);
      play.textContent = "Pause";
      timer = setInterval(() => {
        if (selected + 1 < windows.length) select(selected + 1);
        else stop();
      }, Math.min(Math.max(step, SHORTEST_STEP_MS), LONGEST_STEP_MS));
    });
    slider.addEventListener("input", () => {
      stop();
      select(Number(slider.value));
    });

    // Select the window that is nearest to a click in a drawing.
    function onClick(drawing, distance) {
      drawing.addEventListener("click", (event) => {
        const matrix = drawing.getScreenCTM().inverse();
        const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
        const distances = windows.map((numbers) => distance(numbers, x, y));
        const least = Math.min(...distances);
        if (!Number.isFinite(least)) return;
        stop();
        select(distances.indexOf(least));
      });
    }
    onClick(times, (numbers, x) => Math.abs(numbers.time - x));
    onClick(plan, (numbers, x, y) =>
      Math.min(...(numbers.points || []).map((xy) => Math.hypot(xy[0] - x, xy[1] - y))),
    );
    select(Number(slider.value));
    return stop;
  }

  const sections = [...document.querySelectorAll(".recording")];
  const stops = sections.map((section, index) =>
    recordings[index].windows ? start(section, recordings[index]) : () => {},
  );
  const chooser = document.getElementById("chooser");
  if (chooser) {
    const choose = () => {
      stops.forEach((stop) => stop());
      sections.forEach((section, index) => {
        section.hidden = index !== Number(chooser.value);
      });
    };
    chooser.addEventListener("change", choose);
    choose();
  }
  document.documentElement.classList.add("scripted");
}
