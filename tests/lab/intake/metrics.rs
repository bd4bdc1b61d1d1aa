//! Series and sketches as the intake received them (spec: metrics 3.4 to 3.6). Pure.

use serde_json::Value as Json;

use super::protobuf::{Error, Value, read, unzigzag};

/// A count or a gauge.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub metric: String,
    /// 1 count, 2 rate, 3 gauge; 0 unspecified.
    pub kind: u64,
    /// Seconds since the epoch and values.
    pub points: Vec<(i64, f64)>,
    /// `key:value`.
    pub tags: Vec<String>,
    /// All of it.
    pub json: Json,
}

impl Series {
    /// The sum of all points.
    pub fn sum(&self) -> f64 {
        self.points.iter().map(|(_, value)| value).sum()
    }
}

/// A distribution.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// Its name.
    pub metric: String,
    /// Host; empty from Lambda.
    pub host: String,
    /// `key:value`.
    pub tags: Vec<String>,
    /// One for each bucket of time.
    pub points: Vec<SketchPoint>,
    /// Product, category and service of the origin, if there is one.
    pub origin: Option<[u64; 3]>,
}

/// A bucket of a distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SketchPoint {
    /// Seconds since the epoch.
    pub ts: i64,
    /// How many values.
    pub cnt: i64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub avg: f64,
    /// Their sum.
    pub sum: f64,
    /// Keys of the bins, ascending.
    pub k: Vec<i32>,
    /// Counts of the bins.
    pub n: Vec<u32>,
}

/// Decodes a body of `/api/v2/series`.
pub fn decode_series(body: &[u8]) -> Result<Vec<Series>, Error> {
    let json: Json = serde_json::from_slice(body).map_err(|e| format!("series are not JSON: {e}"))?;
    let list = json.get("series").and_then(Json::as_array).ok_or("no array `series`")?;
    list.iter().map(|one| series(one).ok_or_else(|| format!("not a series: {one}"))).collect()
}

fn series(json: &Json) -> Option<Series> {
    let point = |p: &Json| Some((p.get("timestamp")?.as_i64()?, p.get("value")?.as_f64()?));
    Some(Series {
        metric: json.get("metric")?.as_str()?.to_owned(),
        kind: json.get("type")?.as_u64()?,
        points: json.get("points")?.as_array()?.iter().map(point).collect::<Option<_>>()?,
        tags: json.get("tags")?.as_array()?.iter().map(|t| t.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        json: json.clone(),
    })
}

/// Decodes a body of `/api/beta/sketches`.
pub fn decode_sketches(body: &[u8]) -> Result<Vec<Sketch>, Error> {
    let mut sketches = Vec::new();
    read(body, |number, field| {
        if number == 1 {
            sketches.push(sketch(field)?);
        }
        Ok(())
    })?;
    Ok(sketches)
}

fn sketch(message: Value<'_>) -> Result<Sketch, Error> {
    let mut out = Sketch::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.metric = field.string()?,
            2 => out.host = field.string()?,
            4 => out.tags.push(field.string()?),
            7 => out.points.push(sketch_point(field)?),
            8 => out.origin = origin(field)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn sketch_point(message: Value<'_>) -> Result<SketchPoint, Error> {
    let mut out = SketchPoint::default();
    read(message.bytes()?, |number, field| {
        match number {
            1 => out.ts = field.int()?,
            2 => out.cnt = field.int()?,
            3 => out.min = field.double()?,
            4 => out.max = field.double()?,
            5 => out.avg = field.double()?,
            6 => out.sum = field.double()?,
            7 => field.varints_into(&mut out.k, |v| unzigzag(v) as i32)?,
            8 => field.varints_into(&mut out.n, |v| v as u32)?,
            _ => {}
        }
        Ok(())
    })?;
    if out.k.len() != out.n.len() {
        return Err(format!("{} keys but {} counts", out.k.len(), out.n.len()));
    }
    Ok(out)
}

fn origin(metadata: Value<'_>) -> Result<Option<[u64; 3]>, Error> {
    let mut out = None;
    read(metadata.bytes()?, |number, field| {
        if number == 1 {
            let mut parts = [0; 3];
            read(field.bytes()?, |number, part| {
                if let 4..=6 = number {
                    parts[number as usize - 4] = part.uint()?;
                }
                Ok(())
            })?;
            out = Some(parts);
        }
        Ok(())
    })?;
    Ok(out)
}
