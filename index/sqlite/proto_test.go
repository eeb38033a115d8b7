package proto
import ("context";"database/sql";"database/sql/driver";"fmt";"strings";"testing";"time";"path/filepath"
_ "modernc.org/sqlite")
func run(t *testing.T, rows int, ckpt int) {
	db,_:=sql.Open("sqlite","file:"+filepath.Join(t.TempDir(),"a.db")+fmt.Sprintf("?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(%d)",ckpt))
	defer db.Close()
	ctx:=context.Background()
	c,_:=db.Conn(ctx)
	ex:=func(q string){ if _,e:=c.ExecContext(ctx,q);e!=nil{t.Fatal(e)}}
	ex("create table doc(id integer primary key, s int, v int, h, x, d int, c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10)")
	ex("create unique index k on doc(s,c0,c1)")
	ex("create index tm on doc(s,c8,c0,c1)")
	var sb strings.Builder
	sb.WriteString("insert into doc(s,v,h,x,d,c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10) values ")
	for i:=0;i<rows;i++{ if i>0{sb.WriteString(",")}; sb.WriteString("(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")}
	sb.WriteString(" on conflict(s,c0,c1) do update set v=excluded.v,h=excluded.h,c2=excluded.c2,c3=excluded.c3 where excluded.v>doc.v")
	c.Raw(func(dc any) error {
		st,err:=dc.(driver.ConnPrepareContext).PrepareContext(ctx,sb.String())
		if err!=nil{t.Fatal(err)}
		se:=st.(driver.StmtExecContext)
		args:=make([]driver.NamedValue,16*rows)
		for i:=range args{args[i].Ordinal=i+1}
		n:=0
		start:=time.Now()
		h:=make([]byte,16)
		for b:=0;b<100;b++{
			dc.(driver.ExecerContext).ExecContext(ctx,"begin immediate",nil)
			for i:=0;i<2000/rows;i++{
				for r:=0;r<rows;r++{
					a:=args[r*16:]
					vals:=[]driver.Value{int64(1),int64(n),h,nil,int64(0),int64((n*7919)%10007),int64(n),fmt.Sprintf("transfer-%020d",n),int64(1),"CNY",int64(n*3),int64(55555+n),int64(66666+n),"2026-11-01","2026-11-01 10:00:00.123456","2026-11-01 10:00:00.123456"}
					for k,v:=range vals{a[k].Value=v}
					n++
				}
				if _,err:=se.ExecContext(ctx,args);err!=nil{t.Fatal(err)}
			}
			dc.(driver.ExecerContext).ExecContext(ctx,"commit",nil)
		}
		el:=time.Since(start)
		fmt.Printf("rows/stmt %d ckpt %d: %.0f/s\n",rows,ckpt,float64(n)/el.Seconds())
		return nil
	})
}
func TestA(t *testing.T){ for _,ck:=range []int{1000,8000}{ for _,r:=range []int{1,10,50,200}{run(t,r,ck)}}}
