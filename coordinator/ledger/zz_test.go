package ledger_test
import ("testing";"time";"fmt";"github.com/tranship/tranship/internal/work")
func TestZZ(t *testing.T){
 b:=setup(t)
 id:=b.ready(300000)
 b.exec(`INSERT INTO tranship.items (job_id, kind, site, state, objects_count, first_key, last_key, objects, not_before)
   SELECT $1,'copy','default','ready',1,'k','k','[{"key":"k","size":1}]', now()+interval '1 hour' FROM generate_series(1,100000)`, id)
 if true { b.exec(`ANALYZE tranship.items`) }
 for r:=0;r<1500;r++{
  a:=time.Now(); items:=b.claim(200); c:=time.Now()
  var rs []work.Result
  for _,it:=range items { rs=append(rs, all(it,"copied")) }
  d:=time.Now(); b.record(rs...); e:=time.Now()
  b.FinishJobs(b.ctx()); f:=time.Now(); b.job(id); g:=time.Now(); b.Overdue(b.ctx(), time.Hour, 100)
  h:=time.Now()
  if r%100==0 || r<3 { fmt.Println(r,len(items),"claim",c.Sub(a),"record",e.Sub(d),"finish",f.Sub(e),"job",g.Sub(f),"overdue",h.Sub(g)) }
 }
 a:=time.Now(); bl,_:=b.Balance(b.ctx(), id); fmt.Println("balance",time.Since(a), bl.Counted)
}
