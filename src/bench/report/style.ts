/** The look of the report: light, dark and on paper. */
export const style: string = `
:root{--bg:#fff;--card:#f7f8fa;--ink:#1b2130;--soft:#5b6475;--rule:#dfe3ea;--band:#eef3fc;--c1:#2459c4;--c2:#c2570c;--c3:#0b7f72;--c4:#8a3fb0;--good:#16733a;--bad:#b42318;--warn:#8a6100}
@media (prefers-color-scheme:dark){:root{--bg:#12151c;--card:#1a1f29;--ink:#e8ebf1;--soft:#9aa5b8;--rule:#2e3645;--band:#1c2638;--c1:#7aa5ff;--c2:#ff9d5c;--c3:#4fd1bd;--c4:#d09bf0;--good:#5fce88;--bad:#ff8378;--warn:#e8bd58}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 56px}
header p,.small,.settings{color:var(--soft)}
h1{font-size:26px;margin:0}header p{margin:4px 0 0}
h2{font-size:20px;margin:36px 0 4px;padding-top:18px;border-top:1px solid var(--rule)}
h3{font-size:15px;margin:24px 0 6px}
p{margin:6px 0;max-width:80ch}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.small{font-size:13px}
ul{margin:4px 0;padding-left:20px;max-width:90ch}
.status{font-size:12px;font-weight:600;padding:2px 9px;border-radius:99px;border:1px solid;vertical-align:3px}
.passed{color:var(--good)}.failed{color:var(--bad)}.interrupted{color:var(--warn)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:16px 0}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px}
.tiles b{display:block;font-size:23px;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px;margin:20px 0}
.chart{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px 8px;break-inside:avoid}
.chart svg{display:block;width:100%;height:auto;overflow:visible}
figcaption{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;margin-bottom:6px}
figcaption b{font-size:14px}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:12.5px;color:var(--soft)}
.key::before{content:"";display:inline-block;width:16px;border-top:2.5px solid currentColor;vertical-align:4px;margin-right:6px}
.key.dashed::before{border-top-style:dashed}
.key.c1::before{color:var(--c1)}.key.c2::before{color:var(--c2)}.key.c3::before{color:var(--c3)}.key.c4::before{color:var(--c4)}
.line{fill:none;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}.line.dashed{stroke-dasharray:5 4;opacity:.75}
.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}
.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}.dot.c3{fill:var(--c3)}.dot.c4{fill:var(--c4)}
.spot{fill:transparent}.spot:hover{fill:var(--soft);fill-opacity:.35}
.grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}.band{fill:var(--band)}
.tick,.caption{fill:var(--soft);font-size:11.5px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:min(100%,560px)}
th,td{text-align:left;padding:5px 16px 5px 0;border-bottom:1px solid var(--rule);font-size:14px;vertical-align:top}
th{color:var(--soft);font-weight:600;font-size:13px}th:empty{padding:0}
.n{text-align:right;white-space:nowrap}.environment .n{text-align:left;white-space:normal}
tr.better .n:last-child,tr.held td:first-child{color:var(--good);font-weight:600}
tr.worse .n:last-child,tr.broken td:first-child{color:var(--bad);font-weight:600}
@page{margin:14mm}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--rule:#ccc;--band:#f0f2f6;--c1:#2459c4;--c2:#c2570c;--c3:#0b7f72;--c4:#8a3fb0;--good:#16733a;--bad:#b42318;--warn:#8a6100}
body{font-size:12px}main{padding:0;max-width:none}.charts{grid-template-columns:1fr 1fr;gap:10px}.run+.run,.environment{break-before:page}h2,h3{break-after:avoid}tr,.tiles,.chart{break-inside:avoid}}
`;
