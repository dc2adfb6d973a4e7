"""The page's style: system fonts, two colours, light and dark, telephone, print."""

SHEET = """
:root{--paper:#fbfaf7;--panel:#f3f1ec;--ink:#1d1c1a;--quiet:#625e57;--rule:#dedad2;--grid:#e8e5de;--raw:#cfcac0;
--accent:#1a5fa0;--accent-soft:#1a5fa026;--other:#a8480f;--plain:#6e6a63;--good:#1c6b3f;--good-soft:#1c6b3f1a;
--bad:#a3261d;--bad-soft:#a3261d1a;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif;
--serif:"Iowan Old Style","Charter","Palatino Linotype",Palatino,"Source Serif 4",Georgia,"Liberation Serif",serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#161719;--panel:#1f2124;--ink:#e9e7e2;--quiet:#a5a29b;--rule:#34363a;
--grid:#2a2c30;--raw:#4b4e54;--accent:#7db7ee;--accent-soft:#7db7ee2e;--other:#f0a26b;--plain:#a09c94;--good:#7fcf9f;
--good-soft:#7fcf9f22;
--bad:#f2938a;--bad-soft:#f2938a22}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0 auto;padding:0 1rem 4rem;max-width:calc(60rem + 2rem);background:var(--paper);color:var(--ink);
font:1rem/1.55 var(--sans);overflow-wrap:break-word;font-variant-numeric:tabular-nums}
header{padding:3.5rem 0 0}
.kicker{margin:0;color:var(--quiet);font-size:.85rem}
h1,h2{font-family:var(--serif);font-weight:600;line-height:1.15;letter-spacing:-.01em;text-wrap:balance}
h1{margin:.25rem 0 1rem;font-size:clamp(2rem,6vw,3rem)}
h2{margin:0 0 1rem;font-size:1.6rem}
h3{margin:2rem 0 .5rem;font-size:1rem;font-weight:600}
p{margin:0 0 1rem;max-width:42rem}
.verdict{font:1.3rem/1.45 var(--serif);max-width:44rem}
.care{padding:.1rem 0 .1rem 1rem;border-left:3px solid var(--other)}
.note,.quiet,.missing,footer{color:var(--quiet)}
.note,footer{font-size:.875rem}
.note{margin:.75rem 0 0}
.note b{color:var(--ink);font-weight:600}
section{padding-top:2.25rem;margin-top:2.75rem;border-top:1px solid var(--rule)}
a{color:var(--accent)}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;margin-top:1.75rem;font-size:.9rem}
nav a{text-decoration:none;padding:.2rem 0}
nav a:hover{text-decoration:underline}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
code,pre{font-family:var(--mono);font-size:.86em}
code{overflow-wrap:anywhere}
pre{margin:0;padding:.7rem .9rem;background:var(--panel);border-radius:6px;overflow-x:auto}
pre code{white-space:pre;overflow-wrap:normal}
dl{margin:0}dd{margin:0}dt{color:var(--quiet);font-size:.85rem}
.facts{display:flex;flex-wrap:wrap;gap:.9rem 2.2rem;margin-top:1.5rem}
.facts dd{font-weight:500}
.commands{display:grid;gap:1rem}
.commands div{min-width:0}
.commands dt{margin-bottom:.25rem}
.scroll+p:not(.note){margin-top:2rem}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;padding:.42rem 1.1rem .42rem 0;vertical-align:baseline;border-bottom:1px solid var(--grid)}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--quiet);font-weight:400;font-size:.82rem;border-bottom-color:var(--rule);white-space:nowrap}
tbody th{font-weight:400}
.number{text-align:right;white-space:nowrap}
.prose{min-width:16rem;color:var(--quiet)}
.group th{padding-top:1.25rem;border-bottom-color:var(--rule)}
.scores{min-width:46rem}
.scores tr.trained th,.scores b{font-weight:600}
.scores th[scope=row]{white-space:nowrap}
.scores .scale{width:28%;vertical-align:middle}
.scores .number{min-width:6rem}
.ends{font-size:.85em}
.files,.settings{table-layout:auto}
.files th,.files td,.settings th,.settings td{overflow-wrap:anywhere}
.settings th{width:40%;font-family:var(--mono);font-size:.84em}
.settings thead th{font-family:inherit}
.shaded{--tint:var(--grid);min-width:7rem;padding-left:.4rem;text-align:left;
background:linear-gradient(to right,var(--tint) calc(var(--share)*100%),
transparent 0) 0 .35rem/calc(100% - 1.1rem) 1.5em no-repeat}
.shaded.strong{--tint:var(--accent-soft)}
.classes th.number:nth-child(n+3),.priors th.number{text-align:left;padding-left:.4rem}
details{margin-top:1rem}
details+details{margin-top:.5rem}
summary+*{margin-top:.5rem}
summary{cursor:pointer;color:var(--accent)}
.chip{display:inline-block;padding:.05rem .5rem;border-radius:1rem;font-size:.82rem;white-space:nowrap;
background:var(--panel);color:var(--quiet)}
.chip.better{background:var(--good-soft);color:var(--good)}
.chip.worse{background:var(--bad-soft);color:var(--bad)}
.findings{padding:0;list-style:none}.findings li{margin-bottom:1rem}
.bar{display:block;width:100%;height:20px;overflow:visible}
svg path{fill:none;vector-effect:non-scaling-stroke;stroke-linecap:round;stroke-linejoin:round}
svg line{vector-effect:non-scaling-stroke;stroke:var(--grid);stroke-width:1}
.bar .range{stroke:var(--plain);stroke-width:5;stroke-linecap:butt;opacity:.45}.bar .dot{stroke:var(--plain);
stroke-width:8}
.bar .trained{stroke:var(--accent)}
.chart{margin:0 0 1.5rem}
figcaption{display:flex;flex-wrap:wrap;gap:.15rem 1.4rem;margin-bottom:.5rem;font-size:.875rem;color:var(--quiet)}
figcaption span,.keys span{display:inline-flex;align-items:center;gap:.5rem}
.key{display:inline-block;width:1.4rem;border-top:2px solid var(--accent)}
.key.raw{border-color:var(--raw);border-top-width:3px}.key.constant{border-top:2px dashed var(--other)}
.key.untrained{border-top:2px dashed var(--plain)}
.key.area{height:.8rem;border:0;background:var(--accent-soft)}
.key.area.trained{background:var(--accent-soft)}
.plot{position:relative;height:20rem;margin:0 .25rem 2.9rem 3.4rem;border-bottom:1px solid var(--quiet)}
.plot.small{height:9rem}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:hidden}
.line{stroke:var(--accent);stroke-width:2}
.line.raw{stroke:var(--raw);stroke-width:1}
.line.constant{stroke:var(--other);stroke-width:1.5;stroke-dasharray:6 5;stroke-linecap:butt}
.line.untrained{stroke:var(--plain);stroke-width:1.5;stroke-dasharray:6 5;stroke-linecap:butt}
.dots{stroke:var(--accent);stroke-width:6}
path.band{fill:var(--accent-soft);stroke:none}
.ytick,.xtick,.xname{position:absolute;font-size:.8rem;line-height:1;color:var(--quiet);white-space:nowrap}
.ytick{right:calc(100% + .5rem);transform:translateY(-50%)}
.xtick{top:calc(100% + .5rem);transform:translateX(-50%)}
.xtick.end{transform:translateX(-85%)}
.xname{top:calc(100% + 1.65rem);right:0}
.linename{position:absolute;right:.25rem;font-size:.8rem;line-height:1.2;white-space:nowrap;
text-shadow:0 0 3px var(--paper),0 0 3px var(--paper),0 0 3px var(--paper)}
.linename.over{transform:translateY(calc(-100% - 3px))}.linename.under{transform:translateY(4px)}
.linename.constant{color:var(--other)}.linename.untrained{color:var(--quiet)}
.smalls .chart{max-width:30rem}
.smalls{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:0 2rem}
.answers{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
.answers figure{margin:0}.answers img{display:block;height:auto;border-radius:4px}
.drawn img{display:block;width:auto;height:auto;max-width:100%;border-radius:6px}
.thumb{display:inline-block;flex:none;--d:48;width:calc(var(--d)*1px);height:calc(var(--d)*1px);border-radius:4px;
background-color:var(--panel);
background-repeat:no-repeat;--scale:calc(var(--d)/var(--side));
background-size:calc(var(--wide)*var(--scale)*1px) calc(var(--high)*var(--scale)*1px);
background-position:calc((var(--x)*var(--cell) + var(--border))*var(--scale)*-1px) calc((var(--y)*var(--cell) + 
var(--border))*var(--scale)*-1px);
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:1.75rem 2.5rem;
margin:1.25rem 0 0;padding:0;list-style:none}
.cards li{display:flex;gap:1.1rem;align-items:flex-start}
.asked{width:72px;flex:none}
.asked .name{display:block;font-size:.8rem;line-height:1.3;color:var(--quiet);margin-top:.3rem;overflow:hidden;
text-overflow:ellipsis}
.query{--d:72;display:block}
.near{margin-bottom:.5rem}
.near .who{display:block;margin-bottom:.15rem;font-size:.75rem;line-height:1.4;color:var(--quiet)}
.near .row{display:flex;flex-wrap:wrap;gap:.3rem .3rem}
.near .thumb{--d:44}
.near .thumb.alike{box-shadow:0 3px 0 var(--paper),0 6px 0 var(--accent);border-bottom-left-radius:0;
border-bottom-right-radius:0;margin-bottom:6px}
.near.untrained .thumb.alike{box-shadow:0 3px 0 var(--paper),0 6px 0 var(--plain)}
.map{position:relative;aspect-ratio:1;margin-top:1.25rem;--base:32}
.map svg{position:absolute;inset:calc(var(--base)*.5px);width:calc(100% - var(--base)*1px);
height:calc(100% - var(--base)*1px);overflow:visible}
.map .dots{stroke:var(--plain);stroke-width:3;opacity:.5}
.map .thumb{position:absolute;--d:var(--base);left:calc(var(--px)*(100% - var(--base)*1px));
top:calc(var(--py)*(100% - var(--base)*1px))}
.map .more{display:none}
.map .thumb:hover,.map .thumb:focus{--d:128;z-index:2;outline:0;box-shadow:0 4px 18px #0007;
translate:calc((var(--base) - 128)*var(--px)*1px) calc((var(--base) - 128)*var(--py)*1px)}
.map .thumb:hover{z-index:3}
.map .thumb:hover::after,.map .thumb:focus::after{content:attr(data-name);position:absolute;width:max-content;
max-width:min(15rem,46vw);
padding:.25rem .5rem;border-radius:4px;background:var(--ink);color:var(--paper);font-size:.8rem;line-height:1.3;
overflow-wrap:anywhere}
.map .left::after{left:0}.map .right::after{right:0}
.map .below::after{top:calc(100% + 6px)}.map .above::after{bottom:calc(100% + 6px)}
@media (min-width:62rem){.map{aspect-ratio:960/600;--base:40}.map .more{display:inline-block}}
.split{height:.8rem;background:var(--panel);border-radius:3px;overflow:hidden;margin-top:1.5rem}
.split i{display:block;height:100%;background:var(--accent)}
.keys{display:flex;flex-wrap:wrap;gap:.25rem 1.4rem;margin:.5rem 0 1.75rem;font-size:.875rem;color:var(--quiet)}
.keys .key{width:.8rem}.keys .key.trained{background:var(--accent)}.keys .key.idle{background:var(--panel);
box-shadow:inset 0 0 0 1px var(--rule)}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--rule)}
@media (max-width:40rem){header{padding-top:2rem}.verdict{font-size:1.15rem}.plot{height:15rem;margin-left:2.9rem}
section{margin-top:2rem;padding-top:1.75rem}.drawn img{max-width:none;width:max(100%,34rem)}.settings th{width:45%}
th,td{padding-right:.8rem}.scores{min-width:34rem}.scores th[scope=row]{white-space:normal;min-width:5.6rem}
.scores .ends{display:block}.scores .number{min-width:0}.scores .scale{min-width:7.5rem}
.scores thead .scale{white-space:normal}.bar .dot{stroke-width:6}
.near .thumb{--d:34}.prose{min-width:9rem}.xtick.rare{display:none}}
@media print{:root{--paper:#fff;--panel:#f4f4f4;--ink:#000;--quiet:#444;--rule:#ccc;--grid:#ddd;--raw:#bbb;
--accent:#1a5fa0;
--accent-soft:#1a5fa026;
--other:#a8480f;--plain:#666;--good:#1c6b3f;--bad:#a3261d;color-scheme:light}nav,.skip{display:none}body{
max-width:none;font-size:10pt}
.chart,.cards li,tr,.map{break-inside:avoid}h2,h3{break-after:avoid}.scroll,pre{overflow:visible}pre code{
white-space:pre-wrap}
details::details-content{content-visibility:visible;block-size:auto}}
"""
"""CSS. Contrast of text on paper is at least 4.5 : 1 in both schemes."""
